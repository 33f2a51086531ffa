//! Which clients a canary answers.
//!
//! Invariant: a client that tells who it is is always answered by the same of the two versions, by every
//! process and after every restart; another canary draws its clients anew.

use sha2::{Digest, Sha256};

use crate::domain::version::{Canary, Pointing};
use crate::storage::models::ModelId;

/// The canary, where it answers this client. Who does not tell who it is draws a lot with each request.
pub(super) fn of_client(pointing: &Pointing, model: ModelId, client: Option<&[u8]>) -> Option<i32> {
    let Canary { version, share } = pointing.canary?;
    let lot = client.map_or_else(rand::random, |client| lot(model, version, client));
    (lot < share).then_some(version)
}

/// A number of 0 to below 1 that is the client's own.
fn lot(model: ModelId, version: i32, client: &[u8]) -> f64 {
    let mut hasher = Sha256::new();
    hasher.update(model.0.to_le_bytes());
    hasher.update(version.to_le_bytes());
    hasher.update(client);
    let digest = hasher.finalize();
    // As many bits as such a number holds exactly.
    let bits = digest.iter().take(8).fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte)) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointing(share: f64) -> Pointing {
        Pointing { canary: Some(Canary { version: 8, share }), ..Pointing::at(7) }
    }

    fn of(pointing: &Pointing, client: u32) -> Option<i32> {
        of_client(pointing, ModelId(1), Some(&client.to_le_bytes()))
    }

    #[test]
    fn a_share_of_the_clients_is_the_canarys_and_stays_so() {
        let tenth = pointing(0.1);
        let count =
            |pointing: &Pointing| (0..10_000).filter(|&i| of(pointing, i).is_some()).count();
        assert!((900..1_100).contains(&count(&tenth)), "{}", count(&tenth));
        assert_eq!((count(&pointing(1.0)), count(&Pointing::at(7))), (10_000, 0));
        // Who is in stays in when the share grows.
        let half = pointing(0.5);
        assert!((0..10_000).all(|i| of(&tenth, i).is_none() || of(&half, i) == Some(8)));
        // Another canary has other clients.
        let other = Pointing { canary: Some(Canary { version: 9, share: 0.1 }), ..tenth };
        let both = (0..10_000).filter(|&i| of(&tenth, i).is_some() && of(&other, i).is_some());
        assert!((50..150).contains(&both.count()));
        let unknown = (0..1_000).filter(|_| of_client(&half, ModelId(1), None).is_some()).count();
        assert!((400..600).contains(&unknown), "{unknown}");
    }
}

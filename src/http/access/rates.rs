//! How often one may ask (draft-ietf-httpapi-ratelimit-headers-10).
//!
//! Invariant: what is remembered of those who ask is bounded, however many addresses come. Beyond the bound
//! addresses that come are counted in crowds, together with others; keys never are, as there are only so many.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use uuid::Uuid;

use crate::http::error::{Problem, ProblemCode};

/// Whom requests are counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asker {
    /// The holder of a key.
    Key(Uuid),
    /// Whoever is at an address; of IPv6 a network of 64 bits, which is what one customer gets.
    Address(IpAddr),
    /// Some of those at addresses, where there are too many to tell them apart.
    Crowd(u64),
}

impl Asker {
    /// Who is at this address, as far as it is known.
    pub fn of_address(address: Option<IpAddr>) -> Self {
        let address = address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)).to_canonical();
        Self::Address(match address {
            IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
            v4 => v4,
        })
    }
}

type Limiter =
    RateLimiter<Asker, DefaultKeyedStateStore<Asker>, DefaultClock, StateInformationMiddleware>;

/// Askers that are remembered at most before those that are quiet are forgotten.
const MANY: usize = 10_000;
/// How often that is done at most: it goes over all of them.
const SWEEP: Duration = Duration::from_secs(10);
/// Askers that are told apart at most, of each rate: some 10 MB.
const MOST: usize = 100_000;
/// How many crowds the others make, by a hash that nobody outside knows.
const CROWDS: u64 = 4_096;

/// Counts requests: of each asker so many a minute, all at once where they were not used.
#[derive(Debug)]
pub struct Rates {
    /// For those without a rate of their own; `None`: as often as they like.
    common: Option<NonZeroU32>,
    /// Those who are counted by each rate that there is.
    limiters: RwLock<HashMap<NonZeroU32, Arc<Limited>>>,
    crowds: RandomState,
}

impl Rates {
    /// With this rate, in requests a minute, for whoever has none of their own; 0: no limit.
    pub fn new(common: u32) -> Self {
        let (limiters, crowds) = (RwLock::default(), RandomState::new());
        Self { common: NonZeroU32::new(common), limiters, crowds }
    }

    /// Counts a request of an asker, with a rate of their own or the common one. `None` without limit.
    pub fn count(&self, asker: Asker, own: Option<u32>) -> Option<Counted> {
        let rate = own.and_then(NonZeroU32::new).or(self.common)?;
        let limited = self.limited(rate);
        let n_remembered = limited.limiter.len();
        if n_remembered > MANY {
            limited.sweep(Instant::now());
        }
        let asker = match asker {
            Asker::Address(address) if n_remembered >= MOST => {
                Asker::Crowd(self.crowds.hash_one(address) % CROWDS)
            }
            told_apart => told_apart,
        };
        Some(match limited.limiter.check_key(&asker) {
            Ok(state) => Counted { rate, left: state.remaining_burst_capacity(), wait: None },
            Err(until) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                Counted { rate, left: 0, wait: Some(wait) }
            }
        })
    }

    fn limited(&self, rate: NonZeroU32) -> Arc<Limited> {
        let limiters = self.limiters.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(limited) = limiters.get(&rate) {
            return Arc::clone(limited);
        }
        drop(limiters);
        let mut limiters = self.limiters.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(limiters.entry(rate).or_insert_with(|| Arc::new(Limited::new(rate))))
    }
}

/// Those who are counted by one rate.
#[derive(Debug)]
struct Limited {
    limiter: Limiter,
    swept_at: Mutex<Instant>,
}

impl Limited {
    fn new(rate: NonZeroU32) -> Self {
        let limiter = RateLimiter::keyed(Quota::per_minute(rate)).with_middleware();
        Self { limiter, swept_at: Mutex::new(Instant::now()) }
    }

    /// Forgets who is as good as new, unless that was done a short while ago.
    fn sweep(&self, now: Instant) {
        {
            let Ok(mut swept_at) = self.swept_at.try_lock() else { return };
            if now.duration_since(*swept_at) < SWEEP {
                return;
            }
            *swept_at = now;
        }
        self.limiter.retain_recent();
    }
}

/// How an asker stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    rate: NonZeroU32,
    left: u32,
    /// Until the next request would be answered, where this one is not.
    wait: Option<Duration>,
}

impl Counted {
    /// Whether this request was one too many.
    pub fn is_refused(&self) -> bool {
        self.wait.is_some()
    }

    /// What is said to one who asks too often.
    pub fn problem(&self) -> Problem {
        let detail = format!(
            "only {} requests a minute are answered; the next one in {} s",
            self.rate,
            self.seconds(),
        );
        Problem::new(ProblemCode::TooManyRequests, detail)
    }

    /// Until there is one request more, in whole seconds.
    fn seconds(&self) -> u64 {
        let one = Duration::from_secs(60) / self.rate.get();
        let wait = self.wait.unwrap_or(one);
        wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
    }

    /// Tells it in an answer's headers.
    pub fn write(&self, headers: &mut HeaderMap) {
        let seconds = self.seconds();
        let mut say = |name: HeaderName, text: String| {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        };
        let policy = format!("\"requests\";q={};w=60", self.rate);
        say(HeaderName::from_static("ratelimit-policy"), policy);
        let left = format!("\"requests\";r={};t={seconds}", self.left);
        say(HeaderName::from_static("ratelimit"), left);
        if self.is_refused() {
            say(header::RETRY_AFTER, seconds.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_asker_has_a_rate_of_their_own() {
        let rates = Rates::new(2);
        let ask = |asker, own| rates.count(asker, own).unwrap().wait.is_none();
        let (one, other) = (Asker::Key(Uuid::nil()), Asker::of_address(None));
        assert!(ask(one, None) && ask(one, None) && !ask(one, None));
        assert!(ask(other, None));
        // A rate of its own, counted by itself.
        assert!((0..3).all(|_| ask(one, Some(3))) && !ask(one, Some(3)));
        assert!(Rates::new(0).count(one, None).is_none());
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let rates = Rates::new(1);
        let asker = Asker::of_address(None);
        let first = rates.count(asker, None).unwrap();
        assert_eq!((first.left, first.seconds()), (0, 60));
        let second = rates.count(asker, None).unwrap();
        let mut headers = HeaderMap::new();
        second.write(&mut headers);
        let seconds: u64 = headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
        assert_eq!(headers["ratelimit-policy"], "\"requests\";q=1;w=60");
    }

    fn nth(n: u32) -> Asker {
        Asker::Address(IpAddr::V4(n.into()))
    }

    #[test]
    fn who_is_quiet_is_forgotten_but_not_at_every_request() {
        let limited = Limited::new(NonZeroU32::new(60_000).unwrap());
        for n in 0..9 {
            limited.limiter.check_key(&nth(n)).unwrap();
        }
        // A request is forgiven after a thousandth of a second.
        std::thread::sleep(Duration::from_millis(20));
        let began = Instant::now();
        limited.sweep(began);
        assert_eq!(limited.limiter.len(), 9);
        limited.sweep(began + SWEEP);
        assert_eq!(limited.limiter.len(), 0);
        limited.limiter.check_key(&nth(0)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        limited.sweep(began + SWEEP + SWEEP / 2);
        assert_eq!(limited.limiter.len(), 1);
    }

    #[test]
    fn however_many_addresses_come_only_so_many_are_remembered() {
        let rates = Rates::new(1);
        let most = u32::try_from(MOST).unwrap();
        for n in 0..most {
            assert!(!rates.count(nth(n), None).unwrap().is_refused());
        }
        let n_let_in =
            (most..2 * most).filter(|n| !rates.count(nth(*n), None).unwrap().is_refused()).count();
        assert!((1..=CROWDS as usize).contains(&n_let_in), "{n_let_in}");
        let remembered = rates.limited(NonZeroU32::MIN).limiter.len();
        assert_eq!(remembered, MOST + n_let_in);
        // Who has a key is told apart all the same.
        assert!(!rates.count(Asker::Key(Uuid::nil()), None).unwrap().is_refused());
    }

    #[test]
    fn a_network_of_ipv6_is_one_asker() {
        let of = |text: &str| Asker::of_address(Some(text.parse().unwrap()));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}

//! `generate-proto FROM INTO`: writes the messages and services of FROM/inference.proto as Rust and, for
//! clients that ask the service what it speaks, as a descriptor, into the directory INTO.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(from), Some(into)) = (args.next(), args.next()) else {
        return Err("say where inference.proto is, and where to write".into());
    };
    let described = protox::compile(["inference.proto"], [from])?;
    let mut descriptor = described.clone();
    // Comments are for readers of the file.
    descriptor.file.iter_mut().for_each(|file| file.source_code_info = None);
    std::fs::write(into.join("inference.bin"), descriptor.encode_to_vec())?;
    tonic_prost_build::configure()
        // Tensors as bytes stay where they arrived.
        .bytes(".inference")
        // Tests ask, the service answers.
        .client_mod_attribute(".", "#[cfg(test)]")
        .build_transport(false)
        .out_dir(into)
        .compile_fds(described)?;
    Ok(())
}

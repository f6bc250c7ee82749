//! Compiles `quire/v1/*.proto` with protox, so that nobody needs `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 9] = [
    "quire/v1/policy.proto",
    "quire/v1/item.proto",
    "quire/v1/event.proto",
    "quire/v1/session.proto",
    "quire/v1/turn.proto",
    "quire/v1/approval.proto",
    "quire/v1/job.proto",
    "quire/v1/workspace.proto",
    "quire/v1/daemon.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=quire");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("quire.v1.binpb"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}

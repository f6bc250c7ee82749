//! x
use super::Done;
use crate::context::Context;
/// x
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// x
    #[arg(long)]
    plain: bool,
}
/// x
/// # Errors
/// x
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let _ = (arguments.plain, context);
    Ok(())
}

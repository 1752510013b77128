//! The `wbsync` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    wbsync::cli::commands::main()
}

//! The program `listbackup`.

use std::process::ExitCode;

fn main() -> ExitCode {
    listbackup::cli::main()
}

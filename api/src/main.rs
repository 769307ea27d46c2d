//! The program `listbackup`.

use std::process::ExitCode;

fn main() -> ExitCode {
    listbackup::allocator::bound();
    listbackup::cli::main()
}

//! The watcher that tests stop and kill: [`quire_tests::journal`].

fn main() -> std::process::ExitCode {
    quire_tests::journal::main()
}

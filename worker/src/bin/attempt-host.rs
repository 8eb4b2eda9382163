//! A host by itself, for the tests of this crate: the real ones are processes of the worker's own program.

fn main() -> std::process::ExitCode {
    worker::host::serve()
}

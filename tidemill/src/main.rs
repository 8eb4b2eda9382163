//! The binary: a command line, and the service behind it. Here everything is put together; nothing about
//! workflows is decided.

mod alerts;
mod args;
mod cluster;
mod config;
mod failure;
mod follow;
mod home;
mod local_logs;
mod output;
mod outside;
mod service;
mod session;
mod verbs;
mod wiring;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Verb};

fn main() -> ExitCode {
    // What a worker of this program starts to look after its tasks: nobody types that.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == worker::host::ARGUMENT)
    {
        return worker::host::serve();
    }
    let cli = Cli::parse();
    trace(&cli.verb);
    // The one library that encrypts, for everybody in the process; it cannot have been chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failure::Failure::service(error).report(),
    };
    let done = runtime.block_on(verbs::carry_out(cli));
    // Whatever still runs in the background has been told to end, or is not waited for.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// What the parts say about themselves goes to stderr: much from a service, only trouble from a command.
fn trace(verb: &Verb) {
    let level = if matches!(verb, Verb::Serve(_) | Verb::Worker(_)) {
        "info"
    } else {
        "error"
    };
    let filter = EnvFilter::try_from_env("TIDEMILL_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

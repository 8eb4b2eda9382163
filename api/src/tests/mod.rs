//! Claims about the doors, over HTTP, with real runs of the domain, a real log and real read tables.

mod commands;
mod description;
mod events;
mod forwarding;
mod instances;
mod logs;
mod pretend;
mod refusals;
mod service;
mod shared;
mod starting;
mod workflows;
mod world;

//! How workflows behave, through the HTTP API and with the real binary: one claim per test, each with a
//! number by which `docs/scenarios.md` lists it.
//!
//! A case has a project of its own on a service that all share. Its tasks wait for the scenario (`hold`),
//! and the scenario waits for what it can see: no test waits for a time.

mod always;
mod case;
mod pretender;
mod run;
mod service;

mod blocking;
mod catalogues;
mod conditions;
mod dependent;
mod dispatch;
mod dynamic;
mod execute_task;
mod execution;
mod failover;
mod failure;
mod forbidden;
mod force_success;
mod graph;
mod kill;
mod listed;
mod params;
mod pause;
mod recover;
mod refusals;
mod rerun;
mod start;
mod stop;
mod sub_workflow;
mod switch;
mod task_group;
mod timeout;

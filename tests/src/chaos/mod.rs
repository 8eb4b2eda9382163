//! Chaos: a load of runs whose ends are known beforehand, hands that break things while they run, and an auditor who
//! compares what was promised, what the log says, what the tables show, and what really ran.
//!
//! ```text
//! shape    the workflows, and how each of their runs must end
//! load     starts them at a given rate
//! hands    break things, and make them good again
//! history  what the log says of a run
//! side     what really ran
//! audit    whether all of it fits together
//! story    all of these from beginning to end
//! ```

mod audit;
mod hands;
mod history;
mod load;
mod shape;
mod side;
mod story;

pub use self::audit::{Audit, Findings};
pub use self::hands::{Hands, do_to};
pub use self::history::{Attempt, End, History};
pub use self::load::{Load, Started};
pub use self::shape::{Fate, Shape, Takes, Task};
pub use self::side::{Execution, Side};
pub use self::story::{Outcome, Story, await_ends};

//! What tasks hand on to those after them.

use crate::task_instance::Output;

/// What several tasks hand on together: of one name, the first value that is not empty wins.
pub fn merge<'a>(pools: impl IntoIterator<Item = &'a [Output]>) -> Vec<Output> {
    let mut merged: Vec<Output> = Vec::new();
    for output in pools.into_iter().flatten() {
        match merged
            .iter_mut()
            .find(|earlier| earlier.name == output.name)
        {
            Some(earlier) if earlier.value.is_empty() => earlier.clone_from(output),
            Some(_) => {}
            None => merged.push(output.clone()),
        }
    }
    merged
}

/// What a task hands on: what it was handed, with its own outputs in their place.
pub fn pass_on(handed: Vec<Output>, own: &[Output]) -> Vec<Output> {
    let mut passed = handed;
    for output in own {
        match passed
            .iter_mut()
            .find(|earlier| earlier.name == output.name)
        {
            Some(earlier) => earlier.clone_from(output),
            None => passed.push(output.clone()),
        }
    }
    passed
}

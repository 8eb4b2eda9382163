//! The list of mutations fits the code: each can still be made.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn each_mutation_still_has_its_place_in_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mutations = simulation::mutations::all().unwrap();
    assert!(mutations.len() >= 15);
    let names: BTreeSet<_> = mutations.iter().map(|mutation| &mutation.name).collect();
    assert_eq!(names.len(), mutations.len(), "two of them share a name");
    for mutation in mutations {
        let whole = fs::read_to_string(root.join(&mutation.file)).unwrap();
        let broken = mutation
            .apply(&whole)
            .unwrap_or_else(|error| panic!("{}: {error}", mutation.name));
        assert_ne!(broken, whole, "{} changes nothing", mutation.name);
    }
}

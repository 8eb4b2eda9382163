//! "Did you mean": the known name that is closest to a mistyped one.

/// The closest of `known`, if it is close enough to be what was meant; as the end of a sentence.
pub(crate) fn did_you_mean(name: &str, known: &[&str]) -> String {
    let lower = name.to_lowercase();
    // Names of keys are short: a long one is not a slip of the finger.
    if lower.chars().count() > 40 {
        return String::new();
    }
    known
        .iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .map_or_else(String::new, |(_, candidate)| {
            format!("; did you mean \"{candidate}\"?")
        })
}

/// Levenshtein's distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_named_and_a_stranger_is_not() {
        let known = ["depends_on", "retry", "run"];
        assert_eq!(
            did_you_mean("depend_on", &known),
            "; did you mean \"depends_on\"?"
        );
        assert_eq!(did_you_mean("Run", &known), "; did you mean \"run\"?");
        assert_eq!(did_you_mean("schedule", &known), "");
    }
}

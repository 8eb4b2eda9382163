//! The values that the children of a DYNAMIC task are run with: one of each list, in every combination.

/// The values in a text: what stands between separators, without the blanks around it. Empty ones and those
/// in the filter are left out; an empty separator separates nothing.
pub fn split(value: &str, separator: &str, filter: &[String]) -> Vec<String> {
    let parts: Vec<&str> = if separator.is_empty() {
        vec![value]
    } else {
        value.split(separator).collect()
    };
    let left_in = |part: &&str| !part.is_empty() && !filter.iter().any(|out| out.trim() == *part);
    let trimmed = parts.into_iter().map(str::trim);
    trimmed.filter(left_in).map(str::to_owned).collect()
}

/// How many combinations the lists have; none when it is more than `most`. Without lists there is one, of
/// nothing; with an empty list there are 0.
pub fn combinations(lists: &[(String, Vec<String>)], most: usize) -> Option<usize> {
    if lists.iter().any(|(_, values)| values.is_empty()) {
        return Some(0);
    }
    lists.iter().try_fold(1usize, |count, (_, values)| {
        count
            .checked_mul(values.len())
            .filter(|count| *count <= most)
    })
}

/// The combination of that index, from 0 until [`combinations`], in the order of the lists; the last list's
/// values change fastest. With an empty list there is none, and the answer is empty.
pub fn combination(lists: &[(String, Vec<String>)], index: usize) -> Vec<(String, String)> {
    let mut index = index;
    let mut chosen = Vec::with_capacity(lists.len());
    for (name, values) in lists.iter().rev() {
        let Some(value) = index.checked_rem(values.len()).map(|at| &values[at]) else {
            return Vec::new();
        };
        index /= values.len();
        chosen.push((name.clone(), value.clone()));
    }
    chosen.reverse();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(name: &str, values: &[&str]) -> (String, Vec<String>) {
        let values = values.iter().map(|value| (*value).to_owned());
        (name.to_owned(), values.collect())
    }

    #[test]
    fn every_combination_comes_once_and_the_first_list_is_slowest() {
        let lists = [list("a", &["1", "2"]), list("b", &["x", "y", "z"])];
        let count = combinations(&lists, 6).unwrap();
        let shown: Vec<String> = (0..count)
            .map(|index| {
                let chosen = combination(&lists, index).into_iter();
                chosen.map(|(name, value)| name + &value).collect()
            })
            .collect();
        assert_eq!(shown, ["a1bx", "a1by", "a1bz", "a2bx", "a2by", "a2bz"]);
    }

    #[test]
    fn too_many_combinations_are_not_counted() {
        let lists = [list("a", &["1", "2"]), list("b", &["x", "y", "z"])];
        assert_eq!(combinations(&lists, 5), None);
        let many = vec![list("a", &["1", "2"]); 1_000];
        assert_eq!(combinations(&many, usize::MAX), None);
        assert_eq!(combination(&many, 1).len(), 1_000);
    }

    #[test]
    fn an_empty_list_leaves_nothing_to_combine_and_no_list_leaves_one() {
        let mut many = vec![list("a", &["1", "2"]); 1_000];
        many.push(list("b", &[]));
        assert_eq!(combinations(&many, 0), Some(0));
        assert_eq!(combination(&many, 0), []);
        assert_eq!(combinations(&[], 1), Some(1));
        assert_eq!(combination(&[], 0), []);
    }

    #[test]
    fn values_are_what_stands_between_separators() {
        let filter = ["b".to_owned(), " c ".to_owned()];
        assert_eq!(split(" a, b,,c ,d d", ",", &filter), ["a", "d d"]);
        assert_eq!(split("a--b--a", "--", &[]), ["a", "b", "a"]);
        assert_eq!(split("a,b", "", &[]), ["a,b"]);
        assert!(split(" , ", ",", &[]).is_empty());
    }
}

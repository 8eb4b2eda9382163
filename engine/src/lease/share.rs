//! How many shards each engine shall have, so that all have the same number, give or take one.

use std::collections::BTreeMap;

use store::{Member, ShardInfo};

/// What each engine shall have, and what it has or is about to have.
pub(super) struct Shares {
    shares: BTreeMap<String, (usize, usize)>,
}

impl Shares {
    /// Of the engines that do not wait for others; of those that do when there are no others. All engines
    /// that see the same members come to the same shares.
    pub(super) fn new(infos: &[ShardInfo], members: &[Member]) -> Self {
        let mut engines: Vec<&str> = ids(members, false);
        if engines.is_empty() {
            engines = ids(members, true);
        }
        Self::among(infos, &engines)
    }

    /// The same when this engine is gone.
    pub(super) fn without(infos: &[ShardInfo], members: &[Member], id: &str) -> Self {
        let others: Vec<Member> = members
            .iter()
            .filter(|member| member.id != id)
            .cloned()
            .collect();
        Self::new(infos, &others)
    }

    fn among(infos: &[ShardInfo], engines: &[&str]) -> Self {
        let share = |index: usize| {
            let (each, left) = (infos.len() / engines.len(), infos.len() % engines.len());
            each + usize::from(index < left)
        };
        let coming = |id: &str, info: &ShardInfo| {
            let owner = if info.heir.is_empty() {
                &info.owner
            } else {
                &info.heir
            };
            info.expires_in_ms > 0 && *owner == *id
        };
        let has = |id: &str| infos.iter().filter(|info| coming(id, info)).count();
        let shares = engines.iter().enumerate();
        Self {
            shares: shares
                .map(|(index, id)| ((*id).to_owned(), (share(index), has(id))))
                .collect(),
        }
    }

    /// How many shards this engine shall have.
    pub(super) fn of(&self, id: &str) -> usize {
        self.shares.get(id).map_or(0, |(share, _)| *share)
    }

    /// The other engine that lacks the most, if one does. It is counted as having one more from now on.
    pub(super) fn most_wanting(&mut self, id: &str) -> Option<String> {
        let others = self.shares.iter_mut().filter(|(other, _)| *other != id);
        let wanting = others.filter(|(_, (share, has))| has < share);
        let (heir, (_, has)) = wanting.max_by_key(|(_, (share, has))| *share - *has)?;
        *has += 1;
        Some(heir.clone())
    }
}

fn ids(members: &[Member], standby: bool) -> Vec<&str> {
    let some = members.iter().filter(|member| member.standby == standby);
    some.map(|member| member.id.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use domain::ShardId;

    use super::*;

    fn members(ids: &[(&str, bool)]) -> Vec<Member> {
        let member = |(id, standby): &(&str, bool)| Member {
            id: (*id).to_owned(),
            address: String::new(),
            standby: *standby,
        };
        ids.iter().map(member).collect()
    }

    fn shards(owners: &[(&str, &str)]) -> Vec<ShardInfo> {
        let info = |(index, (owner, heir)): (usize, &(&str, &str))| ShardInfo {
            shard: ShardId(index as u16),
            head: 0,
            epoch: 1,
            owner: (*owner).to_owned(),
            expires_in_ms: i64::from(!owner.is_empty()),
            heir: (*heir).to_owned(),
        };
        owners.iter().enumerate().map(info).collect()
    }

    #[test]
    fn shares_are_even_and_add_up() {
        for engines in 1..9 {
            let names: Vec<String> = (0..engines).map(|n| format!("e{n}")).collect();
            let ids: Vec<(&str, bool)> = names.iter().map(|n| (n.as_str(), false)).collect();
            let shares = Shares::new(&shards(&[("", ""); 16]), &members(&ids));
            let all: Vec<usize> = names.iter().map(|name| shares.of(name)).collect();
            assert_eq!(all.iter().sum::<usize>(), 16);
            assert!(all.iter().max().unwrap() - all.iter().min().unwrap() <= 1);
            assert_eq!(shares.of("nobody"), 0);
        }
    }

    #[test]
    fn who_waits_for_others_has_a_share_when_there_are_none() {
        let infos = shards(&[("", ""); 4]);
        let all = members(&[("a", false), ("s", true)]);
        let shares = Shares::new(&infos, &all);
        assert_eq!((shares.of("a"), shares.of("s")), (4, 0));
        let shares = Shares::without(&infos, &all, "a");
        assert_eq!((shares.of("a"), shares.of("s")), (0, 4));
    }

    #[test]
    fn what_was_offered_counts_for_the_heir() {
        let infos = shards(&[
            ("a", ""),
            ("a", ""),
            ("a", ""),
            ("a", "b"),
            ("a", ""),
            ("a", ""),
        ]);
        let mut shares = Shares::new(
            &infos,
            &members(&[("a", false), ("b", false), ("c", false)]),
        );
        let heirs: Vec<String> = std::iter::from_fn(|| shares.most_wanting("a")).collect();
        assert_eq!(heirs, ["c", "c", "b"]);
    }
}

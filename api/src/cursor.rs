//! A reader's place in the whole log, as text: one number per shard, `0:12,1:7`.

use domain::ShardId;
use store::Cursor;

use crate::engine::Position;

/// Writes a cursor.
pub(crate) fn write(cursor: &Cursor) -> String {
    let places: Vec<String> = cursor
        .iter()
        .map(|(&shard, &seq)| Position { shard, seq }.to_string())
        .collect();
    places.join(",")
}

/// Reads a cursor; a shard that is not named is read from its beginning. The error says what was expected.
pub(crate) fn parse(text: &str) -> Result<Cursor, String> {
    if text.is_empty() {
        return Ok(Cursor::new());
    }
    let mut cursor = Cursor::new();
    for place in text.split(',') {
        let Position { shard, seq } = place
            .parse()
            .map_err(|_| "expected a cursor such as 0:12,1:7 (shard:seq, ...)".to_owned())?;
        if shard >= ShardId(ShardId::LIMIT) || cursor.insert(shard, seq).is_some() {
            return Err(format!("shard {shard} is named twice or cannot exist"));
        }
    }
    Ok(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_what_it_writes() {
        let cursor = Cursor::from([(ShardId(0), 12), (ShardId(7), 1)]);
        assert_eq!(write(&cursor), "0:12,7:1");
        assert_eq!(parse("0:12,7:1"), Ok(cursor));
        assert_eq!(parse(""), Ok(Cursor::new()));
        for bad in ["0", "0:1,", "0:1,0:2", "a:1", "0:-1", "1000:1", ","] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

//! The small sums in placeholders: `7*2`, `-12*3`, `1440*(1)/24/60`.

/// What the sum comes to: whole numbers, `+ - * /`, signs and parentheses, divisions cut towards zero. None
/// for anything else, for a division by zero and for what 64 bits do not hold.
///
/// Each parenthesis and sign is a call; the callers bound the length of what they pass.
pub(super) fn value_of(sum: &str) -> Option<i64> {
    let mut rest = sum.as_bytes();
    let value = terms(&mut rest)?;
    rest.is_empty().then_some(value)
}

fn terms(rest: &mut &[u8]) -> Option<i64> {
    let mut value = factors(rest)?;
    while let Some(operator) = take(rest, b"+-") {
        let next = factors(rest)?;
        value = match operator {
            b'+' => value.checked_add(next)?,
            _ => value.checked_sub(next)?,
        };
    }
    Some(value)
}

fn factors(rest: &mut &[u8]) -> Option<i64> {
    let mut value = number(rest)?;
    while let Some(operator) = take(rest, b"*/") {
        let next = number(rest)?;
        value = match operator {
            b'*' => value.checked_mul(next)?,
            _ => value.checked_div(next)?,
        };
    }
    Some(value)
}

fn number(rest: &mut &[u8]) -> Option<i64> {
    match take(rest, b"+-(") {
        Some(b'+') => number(rest),
        Some(b'-') => number(rest)?.checked_neg(),
        Some(_) => {
            let value = terms(rest)?;
            take(rest, b")").map(|_| value)
        }
        None => {
            let mut value = None;
            while let Some(digit) = take(rest, b"0123456789") {
                let digit = i64::from(digit - b'0');
                value = Some(value.unwrap_or(0i64).checked_mul(10)?.checked_add(digit)?);
            }
            value
        }
    }
}

fn take(rest: &mut &[u8], wanted: &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    if !wanted.contains(first) {
        return None;
    }
    *rest = after;
    Some(*first)
}

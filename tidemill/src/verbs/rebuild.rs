//! `rebuild`: read tables are built anew from the log.

use serde_json::{Value, json};

use super::read::{items, shown};
use crate::args::Rebuild;
use crate::failure::Failure;
use crate::output;
use crate::session::{self, Need, Request, Session};

pub(super) async fn rebuild(args: Rebuild) -> Result<(), Failure> {
    session::with(&args.place, Need::Read, async |session| {
        let names = match &args.projection {
            Some(name) => vec![name.clone()],
            None => names(session).await?,
        };
        let mut answers = Vec::new();
        for name in names {
            let request = Request::post(&["projections", &name, "rebuild"], Value::Null);
            answers.push(session.call(&request).await?);
            if !args.form.json {
                output::say(format_args!("{name} built anew"));
            }
        }
        if args.form.json {
            output::document(&json!({ "items": answers }));
        }
        Ok(())
    })
    .await
}

async fn names(session: &mut Session) -> Result<Vec<String>, Failure> {
    let page = session.call(&Request::get(&["projections"])).await?;
    Ok(items(&page)
        .iter()
        .map(|item| shown(item, "name"))
        .collect())
}

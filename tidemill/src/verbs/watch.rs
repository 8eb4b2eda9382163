//! `watch`, and the second half of `run`: a run is followed to its end, and it is told how it went.

use domain::InstanceId;
use domain::task_instance::TaskState;
use domain::workflow_instance::WorkflowState;

use crate::args::One;
use crate::failure::Failure;
use crate::follow::{Following, Picture, Progress, Signals, Stake, Story, Task};
use crate::output;
use crate::session::{self, Need, Session};

pub(super) async fn watch(args: One) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let id = InstanceId(args.id);
    session::with(&args.place, Need::Act, async |session| {
        show(session, &mut signals, id, Stake::Onlooker, args.form.json).await
    })
    .await
}

/// Follows a run to its end and tells how it went.
pub(super) async fn show(
    session: &mut Session,
    signals: &mut Signals,
    id: InstanceId,
    stake: Stake,
    json: bool,
) -> Result<(), Failure> {
    let mut story = Story::of(id);
    let mut progress = Progress::fitting(json);
    let found = match stake {
        Stake::Starter => None,
        Stake::Heir => Some("taking up"),
        Stake::Onlooker => Some("following"),
    };
    if let Some(doing) = found {
        story.catch_up(session).await?;
        if story.picture.end().is_none() && !json {
            let (done, all) = (story.picture.done(), story.picture.tasks.len());
            progress.note(&format!(
                "{doing} run {id}: {done} of {all} tasks have ended"
            ));
        }
    }
    let following = Following {
        story: &mut story,
        session,
        progress: &mut progress,
        signals,
        stake,
    };
    following.follow().await?;
    if json {
        output::document(&story.picture.document());
    } else {
        tell(&story.picture);
    }
    let end = story.picture.end();
    if matches!(end, Some(WorkflowState::Pause | WorkflowState::Block)) {
        let options = session.options();
        output::complain(&format!(
            "`tidemill resume {id}{options}` lets run {id} go on"
        ));
    }
    match end {
        Some(WorkflowState::Success) => Ok(()),
        Some(_) | None => Err(Failure::Unsuccessful),
    }
}

/// One line per task, and one for the run.
fn tell(picture: &Picture) {
    let rows = picture.begun().map(row);
    output::table(
        ["TASK", "ATTEMPT", "STATE", "DURATION", "REASON"],
        &[1, 3],
        rows,
    );
    let waiting = picture.tasks.iter().filter(|task| !task.has_begun());
    let waiting: Vec<_> = waiting.map(|task| output::flat(&task.name)).collect();
    if !waiting.is_empty() {
        output::say(format_args!("not started: {}", waiting.join(", ")));
    }
    let state = picture.state().map_or("", WorkflowState::name);
    let elapsed = output::span(picture.elapsed());
    let reason = match picture.reason.as_str() {
        "" => String::new(),
        reason => format!(": {}", output::flat(reason)),
    };
    output::say(format_args!(
        "run {}  {state}  {elapsed}{reason}",
        picture.id
    ));
}

fn row(task: &Task) -> [String; 5] {
    [
        task.name.clone(),
        task.attempt().to_string(),
        task.state().map_or("", TaskState::name).to_owned(),
        task.elapsed().map(output::span).unwrap_or_default(),
        task.reason.clone(),
    ]
}

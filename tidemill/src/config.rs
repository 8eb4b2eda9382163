//! Settings of a process that serves or runs tasks: read once, from a TOML file that somebody names and from
//! environment variables. What is wrong is said with its line, and never with what stands there: it may
//! hold a password.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::core::HostSelector;
use jiff::SignedDuration;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, de};

use crate::args;
use crate::failure::Failure;

/// Everything that a file can set. All of it has defaults.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// How decisions are taken.
    pub(crate) engine: Engine,
    /// How tasks are run, and what their types need to know.
    pub(crate) worker: worker::Settings,
    /// Who is told when something happens.
    pub(crate) alerts: Alerts,
}

/// `[engine]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Engine {
    /// How long tasks that say nothing about it wait for a worker before they fail.
    dispatch_timeout: Option<Span>,
    /// How long a shard stays ours after we stopped renewing.
    lease: Option<Span>,
    /// How long a silent worker keeps its attempts.
    worker_lease: Option<Span>,
    /// How long a killed task may take to leave by itself.
    kill_grace: Option<Span>,
    /// How one of several workers is chosen.
    host_selector: Option<HostSelector>,
    /// How long a connected worker may leave a dispatch unanswered before it is asked again.
    accept_timeout: Option<Span>,
    /// How often a task is run again because its worker was lost.
    max_failovers: Option<u32>,
}

/// `[alerts]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Alerts {
    /// Addresses that get a POST.
    pub(crate) webhooks: Vec<Webhook>,
    /// Programs that are run.
    pub(crate) scripts: Vec<PathBuf>,
}

/// An address that gets a POST.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    #[serde(deserialize_with = "address")]
    pub(crate) url: Url,
    /// Sent along, for example an `Authorization`.
    #[serde(default, deserialize_with = "headers")]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Webhook {
    /// What may be shown of the address: paths and queries of such addresses are often secrets.
    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({})", self.host())
    }
}

/// A span of time that is not zero, written as `30s`, `10m` or `2h`.
#[derive(Clone, Copy, Debug)]
struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let span = text.parse::<SignedDuration>().ok();
        span.and_then(|span| Duration::try_from(span).ok())
            .filter(|span| !span.is_zero())
            .map(Self)
            .ok_or_else(|| de::Error::custom("expected a duration such as 500ms, 30s, 10m or 2h"))
    }
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Url, D::Error> {
    let text = String::deserialize(from)?;
    Url::parse(&text)
        .ok()
        .filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
        .ok_or_else(|| {
            de::Error::custom("expected an address that begins with http:// or https://")
        })
}

fn headers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(HeaderName, HeaderValue)>, D::Error> {
    let named = BTreeMap::<String, String>::deserialize(from)?;
    let header = |(name, value): (String, String)| {
        let wrong = || {
            de::Error::custom(format!(
                "{name:?} cannot be a header, or not with this value"
            ))
        };
        let mut content = HeaderValue::from_str(&value).map_err(|_| wrong())?;
        content.set_sensitive(true);
        Ok((
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?,
            content,
        ))
    };
    named.into_iter().map(header).collect()
}

impl Engine {
    /// Shorter than this, and a process that is merely busy counts as gone.
    const SHORTEST_LEASE: Duration = Duration::from_secs(1);

    /// The same in the words of the engine.
    pub(crate) fn apply(&self, mut config: engine::Config) -> engine::Config {
        let set = |place: &mut Duration, span: Option<Span>| {
            if let Some(Span(span)) = span {
                *place = span;
            }
        };
        set(&mut config.lease, self.lease);
        set(&mut config.worker_lease, self.worker_lease);
        set(&mut config.kill_grace, self.kill_grace);
        config.heartbeat = config.heartbeat.min(config.worker_lease / 4);
        config.dispatch_timeout = self.dispatch_timeout.map(|Span(span)| span);
        let dispatch = &mut config.dispatch;
        set(&mut dispatch.accept_timeout, self.accept_timeout);
        dispatch.host_selector = self.host_selector.unwrap_or(dispatch.host_selector);
        dispatch.max_failovers = self.max_failovers.unwrap_or(dispatch.max_failovers);
        config
    }

    fn check(&self) -> Result<(), String> {
        for (name, span) in [("lease", self.lease), ("worker_lease", self.worker_lease)] {
            if span.is_some_and(|Span(span)| span < Self::SHORTEST_LEASE) {
                return Err(format!(
                    "engine.{name}: expected 1s or more: a process that is merely busy must not count as gone"
                ));
            }
        }
        Ok(())
    }
}

/// Reads the settings that somebody names, or the defaults. Connections that environment variables name are
/// added.
pub(crate) fn load(from: &args::Settings) -> Result<Config, Failure> {
    let mut config = match &from.config {
        None => Config::default(),
        Some(path) => {
            let name = path.display();
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("{name}: {error}")))?;
            let config = parse(&text).map_err(|why| Failure::usage(format!("{name}: {why}")))?;
            let folder = path.parent().unwrap_or(Path::new(""));
            config
                .beside(folder)
                .map_err(|why| Failure::usage(format!("{name}: {why}")))?
        }
    };
    config.worker = config
        .worker
        .with_environment(std::env::vars_os())
        .map_err(Failure::usage)?;
    Ok(config)
}

fn parse(text: &str) -> Result<Config, String> {
    let config: Config = toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        format!("line {line}: {}", error.message())
    })?;
    config.engine.check()?;
    Ok(config)
}

impl Config {
    /// Paths in a file are meant from where the file is.
    fn beside(mut self, folder: &Path) -> Result<Self, String> {
        let place = |path: &Path| {
            let path = folder.join(path);
            std::path::absolute(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        if let Some(plugins) = &mut self.worker.plugins {
            *plugins = place(plugins)?;
        }
        for script in &mut self.alerts.scripts {
            *script = place(script)?;
            if !script.is_file() {
                return Err(format!(
                    "alerts.scripts: there is no file {}",
                    script.display()
                ));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_is_read() {
        let text = r#"
            [engine]
            dispatch_timeout = "5m"
            lease = "3s"
            worker_lease = "4s"
            host_selector = "round_robin"
            accept_timeout = "700ms"
            max_failovers = 0
            [worker]
            python = "python3.11"
            max_load = 4
            reserved_memory = "2GiB"
            cgroups = false
            [worker.connections]
            ware = "postgres://me:s3cret@db/x"
            [alerts]
            webhooks = [{url = "https://hooks.example/T0K3N", headers = {Authorization = "Bearer s3cret"}}]
        "#;
        let config = parse(text).unwrap();
        let engine = config.engine.apply(engine::Config::new("e"));
        assert_eq!(engine.dispatch_timeout, Some(Duration::from_mins(5)));
        assert_eq!(engine.lease, Duration::from_secs(3));
        assert_eq!(engine.heartbeat, Duration::from_secs(1));
        assert_eq!(
            config.worker.reserved_memory,
            worker::Reserve::Bytes(2 << 30)
        );
        assert_eq!(engine.dispatch.host_selector, HostSelector::RoundRobin);
        assert_eq!(engine.dispatch.accept_timeout, Duration::from_millis(700));
        assert_eq!(engine.dispatch.max_failovers, 0);
        assert_eq!(config.alerts.webhooks[0].headers.len(), 1);
        let printed = format!("{config:?}");
        assert!(printed.contains("hooks.example"), "{printed}");
        for secret in ["s3cret", "T0K3N"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_without_secrets() {
        for (text, line, says) in [
            ("[worker]\npyhton = 'x'\n", 2, "pyhton"),
            ("\n[engine]\nlease = '5 parsecs'\n", 3, "30s"),
            ("[engine]\nlease = '0s'\n", 2, "duration"),
            (
                "[engine]\nhost_selector = 'fastest'\n",
                2,
                "`lower_weight`, `round_robin`",
            ),
            ("[engine]\nmax_failovers = -1\n", 2, "u32"),
            (
                "[worker.connections]\nware = 'oracle://me:s3cret@db/x'\n",
                1,
                "ware",
            ),
            (
                "[alerts]\nwebhooks = [{url = 'ftp://me:s3cret@x'}]\n",
                2,
                "http://",
            ),
            ("[worker]\nreserved_memory = '5 parsecs'\n", 2, "512MiB"),
            ("[worker]\nmax_load = -1\n", 2, "4.0"),
            ("[alerts\n", 1, ""),
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.starts_with(&format!("line {line}: ")), "{refused}");
            assert!(refused.contains(says), "{refused}");
            assert!(!refused.contains("s3cret"), "{refused}");
        }
        assert!(
            parse("[engine]\nlease = '1ms'\n")
                .unwrap_err()
                .contains("engine.lease")
        );
    }

    #[test]
    fn paths_are_meant_from_where_the_file_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tell.sh"), "").unwrap();
        let file = folder.path().join("settings.toml");
        let load = |text: &str| {
            std::fs::write(&file, text).unwrap();
            load(&args::Settings {
                config: Some(file.clone()),
            })
        };
        let config = load("[worker]\nplugins = 'p'\n[alerts]\nscripts = ['tell.sh']\n").unwrap();
        assert_eq!(config.worker.plugins, Some(folder.path().join("p")));
        assert_eq!(config.alerts.scripts, [folder.path().join("tell.sh")]);
        let missing = load("[alerts]\nscripts = ['nobody.sh']\n").unwrap_err();
        assert!(missing.brief().contains("nobody.sh"), "{}", missing.brief());
    }
}

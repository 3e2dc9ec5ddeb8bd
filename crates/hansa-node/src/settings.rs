//! The settings of a node as a list: name, type, range, default and meaning, read from the schema of [`NodeConfig`].
//!
//! One list checks `hansa.toml` and the environment, says where each value comes from, and writes the reference. It knows no setting
//! by name, and it does not check how settings depend on one another; the component that reads them does.

use std::{collections::BTreeMap, path::Path};

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::{Home, NodeConfig, NodeError, Secrecy, read_text, write_file};

/// What a setting's name begins with in the environment.
const PREFIX: &str = "HANSA_";
/// The file's name for people.
const FILE: &str = "hansa.toml";

/// The type of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// A whole number in a range, both ends included.
    Number {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// Text.
    Text,
    /// A list of texts.
    Texts,
}

/// A setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its name with the sections that it is in: `rpc.sockets.connections`.
    pub name: String,
    /// The type of its value.
    pub kind: SettingKind,
    /// Its value where neither file nor environment gives one; `None` for one that `hansa.toml` must give.
    pub default: Option<Value>,
    /// Its meaning.
    pub meaning: String,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is the default.
    Default,
    /// `hansa.toml`.
    File,
    /// A variable of the environment.
    Variable(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File => f.write_str(FILE),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// The settings in force.
#[derive(Clone, Debug)]
pub struct Effective {
    /// As the parts of the node read them.
    pub config: NodeConfig,
    /// Each setting with its value and where that comes from, in the order of the names.
    pub values: Vec<(Setting, Value, Source)>,
}

impl Setting {
    /// The variable that overrides it: `HANSA_RPC__SOCKETS__CONNECTIONS`.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_uppercase().replace('.', "__"))
    }

    /// The unit, which the name says; empty for a count, text or list.
    pub fn unit(&self) -> &'static str {
        const UNITS: [(&str, &str); 9] = [
            ("mib_per_second", "MiB/s"),
            ("bytes_per_second", "bytes/s"),
            ("seconds", "s"),
            ("ms", "ms"),
            ("mib", "MiB"),
            ("bytes", "bytes"),
            ("hours", "h"),
            ("percent", "%"),
            ("blocks", "blocks"),
        ];
        let words = format!("_{}_", self.name.rsplit('.').next().unwrap_or_default());
        let unit = UNITS.iter().find(|(word, _)| words.contains(&format!("_{word}_")));
        unit.filter(|_| matches!(self.kind, SettingKind::Number { .. })).map_or("", |(_, unit)| unit)
    }

    /// The values that it takes, in words.
    pub fn range(&self) -> String {
        match self.kind {
            SettingKind::Number { min, max } => format!("{min} to {max}"),
            SettingKind::Text => "text".to_owned(),
            SettingKind::Texts => "list of texts".to_owned(),
        }
    }

    /// What is wrong with a value.
    fn problem(&self, value: &Value) -> Option<String> {
        let is_fit = match self.kind {
            SettingKind::Number { min, max } => {
                value.as_u64().is_some_and(|number| (min..=max).contains(&number))
            }
            SettingKind::Text => value.is_string(),
            SettingKind::Texts => {
                value.as_array().is_some_and(|texts| texts.iter().all(|text| text.is_string()))
            }
        };
        let wanted = match self.kind {
            SettingKind::Number { min, max } => format!("a whole number from {min} to {max}"),
            SettingKind::Text => "text".to_owned(),
            SettingKind::Texts => "a list of texts".to_owned(),
        };
        (!is_fit).then(|| format!("is {value}, and must be {wanted}"))
    }

    /// Reads a variable's text. A list is written as in the file.
    fn parse(&self, text: &str) -> Value {
        let as_text = || Value::String(text.to_owned());
        match self.kind {
            SettingKind::Number { .. } => text.trim().parse::<u64>().map_or_else(|_| as_text(), Value::from),
            SettingKind::Text => as_text(),
            SettingKind::Texts => toml::from_str::<Map<String, Value>>(&format!("texts = {text}"))
                .ok()
                .and_then(|mut table| table.remove("texts"))
                .unwrap_or_else(as_text),
        }
    }
}

/// The schema of the configuration.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<NodeConfig>().to_value()
}

/// All settings, in the order of their names; those without a section come first.
pub fn settings() -> Vec<Setting> {
    let mut found = Vec::new();
    collect("", &schema(), &mut found);
    found.sort_by(|one, other| {
        let key = |setting: &Setting| (setting.name.contains('.'), setting.name.clone());
        key(one).cmp(&key(other))
    });
    found
}

fn collect(prefix: &str, section: &Value, found: &mut Vec<Setting>) {
    let Some(properties) = section.get("properties").and_then(Value::as_object) else { return };
    for (name, property) in properties {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if property.get("properties").is_some() {
            collect(&name, property, found);
            continue;
        }
        let bound = |bound: &str| property.get(bound).and_then(Value::as_u64);
        let kind = match property.get("type").and_then(Value::as_str) {
            Some("integer") => SettingKind::Number {
                min: bound("minimum").unwrap_or_default(),
                max: bound("maximum").unwrap_or(u64::MAX),
            },
            Some("array") => SettingKind::Texts,
            _ => SettingKind::Text,
        };
        let meaning = property.get("description").and_then(Value::as_str).unwrap_or_default();
        found.push(Setting {
            name,
            kind,
            default: property.get("default").cloned(),
            meaning: meaning.split_whitespace().collect::<Vec<_>>().join(" "),
        });
    }
}

/// The values of a table under their whole names. A list is a value.
fn flatten(prefix: &str, table: &Map<String, Value>, values: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Object(inner) => flatten(&name, inner, values),
            value => drop(values.insert(name, value.clone())),
        }
    }
}

/// The inverse of [`flatten`].
fn nest<'a>(values: impl Iterator<Item = (&'a str, &'a Value)>) -> Value {
    let mut root = Map::new();
    for (name, value) in values {
        let mut sections: Vec<&str> = name.split('.').collect();
        let Some(last) = sections.pop() else { continue };
        let mut table = Some(&mut root);
        for section in sections {
            let inner = table.map(|table| table.entry(section).or_insert_with(|| Value::Object(Map::new())));
            table = inner.and_then(Value::as_object_mut);
        }
        table.map(|table| table.insert(last.to_owned(), value.clone()));
    }
    Value::Object(root)
}

/// The known name that is most like an unknown one.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let own = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |known: &&str| {
        strsim::damerau_levenshtein(name, known).min(strsim::damerau_levenshtein(&own(name), &own(known)) + 1)
    };
    known.min_by_key(distance).unwrap_or_default().to_owned()
}

/// Reads the settings from the text of `hansa.toml` and the variables of the environment, and finds every problem.
///
/// A variable that begins with `HANSA_` is a setting if it is the name of one, or if its name has a `__`; others, such as `HANSA_HOME`,
/// are not looked at.
///
/// # Errors
/// All problems, each naming the setting or the variable.
pub(crate) fn read(text: &str, variables: &[(String, String)]) -> Result<Effective, Vec<String>> {
    let table: Map<String, Value> = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
    let (settings, mut given) = (settings(), BTreeMap::new());
    flatten("", &table, &mut given);
    let names = || settings.iter().map(|setting| setting.name.as_str());
    let mut problems = Vec::new();
    for name in given.keys().filter(|name| !names().any(|known| known == *name)) {
        problems.push(format!("`{name}` is no setting; is `{}` meant?", nearest(name, names())));
    }
    let mut sources: BTreeMap<&str, (Value, Source)> = BTreeMap::new();
    for setting in &settings {
        if let Some(value) = given.get(&setting.name) {
            sources.insert(&setting.name, (value.clone(), Source::File));
        }
    }
    for (variable, text) in variables {
        let found = settings.iter().find(|setting| setting.variable() == *variable);
        if let Some(setting) = found {
            sources.insert(&setting.name, (setting.parse(text), Source::Variable(variable.clone())));
        } else if variable.starts_with(PREFIX) && variable.contains("__") {
            let name = variable.trim_start_matches(PREFIX).to_lowercase().replace("__", ".");
            let likely = nearest(&name, names()).to_uppercase().replace('.', "__");
            problems.push(format!("{variable} is no setting; is {PREFIX}{likely} meant?"));
        }
    }
    let mut values = Vec::with_capacity(settings.len());
    for setting in &settings {
        let default = || setting.default.clone().map(|value| (value, Source::Default));
        let Some((value, source)) = sources.remove(setting.name.as_str()).or_else(default) else {
            problems.push(format!("`{}` is missing", setting.name));
            continue;
        };
        if let Some(problem) = setting.problem(&value) {
            problems.push(match &source {
                Source::Variable(variable) => format!("`{}` {problem} ({variable})", setting.name),
                _ => format!("`{}` {problem}", setting.name),
            });
        }
        values.push((setting.clone(), value, source));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let nested = nest(values.iter().map(|(setting, value, _)| (setting.name.as_str(), value)));
    let config: NodeConfig = serde_json::from_value(nested).map_err(|error| vec![error.to_string()])?;
    match config.problems() {
        problems if problems.is_empty() => Ok(Effective { config, values }),
        problems => Err(problems),
    }
}

/// The text of a `hansa.toml` that gives what differs from the defaults.
///
/// # Errors
/// When a value cannot be written as TOML.
pub(crate) fn text_of(config: &NodeConfig) -> Result<String, String> {
    let mut given = BTreeMap::new();
    let value = serde_json::to_value(config).map_err(|error| error.to_string())?;
    flatten("", value.as_object().unwrap_or(&Map::new()), &mut given);
    for setting in settings() {
        if given.get(&setting.name) == setting.default.as_ref() {
            given.remove(&setting.name);
        }
    }
    let nested = nest(given.iter().map(|(name, value)| (name.as_str(), value)));
    toml::to_string(&nested).map_err(|error| error.to_string())
}

/// The reference of all settings, `docs/reference/configuration.md`.
pub fn reference() -> String {
    let mut text = String::from(HEAD);
    let mut section = None;
    for setting in settings() {
        let name = setting.name.rsplit_once('.').map(|(section, _)| section.to_owned());
        if section.as_ref() != Some(&name) {
            let title = name.as_ref().map_or("Without a section".to_owned(), |name| format!("`[{name}]`"));
            text.push_str(&format!("\n## {title}\n\n{COLUMNS}"));
            section = Some(name);
        }
        let key = setting.name.rsplit('.').next().unwrap_or_default();
        let default = setting.default.as_ref().map_or("to be given".to_owned(), |value| format!("`{value}`"));
        let (unit, range, variable) = (setting.unit(), setting.range(), setting.variable());
        let meaning = &setting.meaning;
        text.push_str(&format!("| `{key}` | {unit} | {default} | {range} | `{variable}` | {meaning} |\n"));
    }
    text
}

const COLUMNS: &str =
    "| setting | unit | default | range | variable | meaning |\n|---|---|---|---|---|---|\n";

const HEAD: &str = "\
<!-- @generated by `cargo xtask codegen` from the settings' documentation in the crates; do not edit -->
# Settings

A node reads `hansa.toml` in its home folder, and then the environment: a variable overrides the file. `hansa config show` prints the
values in force and where each comes from; `hansa config check` names every problem. A list is written in the environment as in the
file: `HANSA_RPC__ORIGINS='[\"https://app.example\"]'`. An unknown name is refused, in the file and, where it has a `__`, in the
environment.

**What is a setting.** Protocol constants are not: what all nodes must agree on, formats of messages and files, and the times on which
the safety of consensus and of key releases rests. Everything that one operator can tune for its own machine, network or policy is:
time-outs, lengths of queues, places for each peer, sizes of caches, rates, intervals, caps of the interfaces, thresholds of health.
";

impl Home {
    /// Reads the configuration.
    ///
    /// # Errors
    /// As [`Home::settings`].
    pub fn config(&self) -> Result<NodeConfig, NodeError> {
        Ok(self.settings()?.config)
    }

    /// Writes the configuration: what differs from the defaults.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_config(&self, config: &NodeConfig) -> Result<(), NodeError> {
        let text =
            text_of(config).map_err(|problem| NodeError::Config { path: self.config_file(), problem })?;
        write_file(&self.config_file(), text.as_bytes(), Secrecy::Public)
    }

    /// Has the configuration name another file with the key store's passphrase; everything else in it stays.
    ///
    /// # Errors
    /// When the file is no TOML or cannot be written.
    pub(crate) fn name_passphrase_file(&self, file: &Path) -> Result<(), NodeError> {
        let path = self.config_file();
        let failed = |problem: String| NodeError::Config { path: path.clone(), problem };
        let mut table: toml::Table =
            toml::from_str(&read_text(&path)?).map_err(|error| failed(error.to_string()))?;
        table.insert("passphrase_file".into(), file.display().to_string().into());
        let text = toml::to_string(&table).map_err(|error| failed(error.to_string()))?;
        write_file(&path, text.as_bytes(), Secrecy::Public)
    }

    /// Reads the settings with where each comes from.
    ///
    /// # Errors
    /// When the file is missing, or anything in it or in the environment is no setting.
    pub fn settings(&self) -> Result<Effective, NodeError> {
        let file = self.config_file();
        if !file.exists() {
            return Err(NodeError::NoHome { path: self.path().to_owned() });
        }
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        read(&read_text(&file)?, &variables.collect::<Vec<_>>())
            .map_err(|problems| NodeError::Settings { path: file, problems })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings that have no default.
    const REQUIRED: &str = "name = \"acme\"\n\
        consensus_listen = \"127.0.0.1:1\"\n\
        swarm_listen = \"/ip4/127.0.0.1/tcp/2\"\n\
        rest_listen = \"127.0.0.1:3\"\n\
        rpc_listen = \"127.0.0.1:4\"\n\
        passphrase_file = \"passphrase\"\n";

    fn default() -> NodeConfig {
        let [consensus, rest, rpc] =
            ["127.0.0.1:1", "127.0.0.1:3", "127.0.0.1:4"].map(|text| text.parse().unwrap());
        let networks = (consensus, "/ip4/127.0.0.1/tcp/2".to_owned());
        NodeConfig::new("acme".to_owned(), networks, (rest, rpc), "passphrase".into())
    }

    fn with(sections: &str, variables: &[(&str, &str)]) -> Result<Effective, Vec<String>> {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        read(&format!("{REQUIRED}{sections}"), &variables)
    }

    fn problems(sections: &str, variables: &[(&str, &str)]) -> Vec<String> {
        with(sections, variables).unwrap_err()
    }

    #[test]
    fn the_documented_defaults_are_those_in_force() {
        let effective = with("", &[]).unwrap();
        assert_eq!(effective.config, default());
        let given = effective.values.iter().filter(|(.., source)| *source == Source::File);
        assert_eq!(given.count(), REQUIRED.lines().count());
        assert_eq!(
            text_of(&default()).unwrap().lines().count(),
            REQUIRED.lines().count(),
            "no default is written"
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut config = default();
        config.rpc.origins = vec!["https://app.example".to_owned(), "*".to_owned()];
        config.rpc.sockets.connections = 7;
        config.swarm.redial_min = std::time::Duration::from_millis(300);
        assert_eq!(read(&text_of(&config).unwrap(), &[]).unwrap().config, config);
    }

    #[test]
    fn every_setting_has_a_range_and_a_meaning() {
        let settings = settings();
        assert!(settings.len() > 90, "{}", settings.len());
        for setting in settings {
            assert!(setting.meaning.ends_with('.'), "{}: {}", setting.name, setting.meaning);
            if let SettingKind::Number { min, max } = setting.kind {
                assert!(min < max && max < u64::MAX, "{}", setting.name);
            }
        }
    }

    /// One below and one above each range, in the file and in the environment; a number where a text belongs.
    #[test]
    fn values_out_of_range_are_refused_with_name_value_and_range() {
        for setting in settings().into_iter().filter(|setting| setting.default.is_some()) {
            let (section, key) = setting.name.rsplit_once('.').unwrap();
            let other = |kind| {
                let found = problems(&format!("[{section}]\n{key} = 3\n"), &[]);
                assert_eq!(found, [format!("`{}` is 3, and must be {kind}", setting.name)]);
            };
            let (min, max) = match setting.kind {
                SettingKind::Number { min, max } => (min, max),
                SettingKind::Text => {
                    other("text");
                    continue;
                }
                SettingKind::Texts => {
                    other("a list of texts");
                    continue;
                }
            };
            let range = format!("must be a whole number from {min} to {max}");
            for bad in [i128::from(min) - 1, i128::from(max) + 1] {
                let found = problems(&format!("[{section}]\n{key} = {bad}\n"), &[]);
                assert_eq!(found, [format!("`{}` is {bad}, and {range}", setting.name)]);
                let variable = setting.variable();
                let found = problems("", &[(variable.as_str(), bad.to_string().as_str())]);
                let [found] = &found[..] else { panic!("{found:?}") };
                assert!(found.contains(&bad.to_string()) && found.contains(&range), "{found}");
                assert!(found.ends_with(&format!("({variable})")), "{found}");
            }
        }
    }

    #[test]
    fn all_problems_are_told_at_once_with_the_nearest_name() {
        let found = problems(
            "[rpc]\nlog = 5\nfilters = true\n[rcp]\nlogs = 1\n[pool]\ntransactions_max = 1\n",
            &[("HANSA_SCRUB__PORTION_BYTE", "1"), ("HANSA_REST__OPERATIONS", "many")],
        );
        let expected = [
            "`rcp.logs` is no setting; is `rpc.logs` meant?",
            "`rpc.log` is no setting; is `rpc.logs` meant?",
            "HANSA_SCRUB__PORTION_BYTE is no setting; is HANSA_SCRUB__PORTION_BYTES meant?",
            "`rest.operations` is \"many\", and must be a whole number from 1 to 65536 (HANSA_REST__OPERATIONS)",
            "`rpc.filters` is true, and must be a whole number from 1 to 1000000",
        ];
        assert_eq!(found, expected);
        let without_name = read(REQUIRED.split_once('\n').unwrap().1, &[]).unwrap_err();
        assert_eq!(without_name, ["`name` is missing"]);
        assert_eq!(problems("nonsense", &[]).len(), 1, "text that is no TOML");
        let related = problems("[pool]\ntransactions_max = 1\n", &[]);
        assert_eq!(
            related,
            ["`pool.sender_transactions_max` is 65536, and must not be above `pool.transactions_max`, 1"]
        );
    }

    #[test]
    fn the_environment_overrides_the_file_and_other_variables_are_left_alone() {
        let variables = [
            ("HANSA_RPC__LOGS", "7"),
            ("HANSA_RPC__SOCKETS__HEAD_SECONDS", "9"),
            ("HANSA_RPC__ORIGINS", "[\"https://app.example\"]"),
            ("HANSA_PASSPHRASE_FILE", "12"),
            ("HANSA_HOME", "/somewhere"),
            ("HANSA_LOG", "debug"),
            ("HANSA_STOP_WITH_PARENT", "1"),
        ];
        let Effective { config, values } = with("[rpc]\nlogs = 5\nfilters = 6\n", &variables).unwrap();
        assert_eq!((config.rpc.logs, config.rpc.filters), (7, 6));
        assert_eq!(config.rpc.sockets.head_time.as_secs(), 9);
        assert_eq!(config.rpc.origins, ["https://app.example"]);
        assert_eq!(config.passphrase_file.to_str(), Some("12"));
        let source =
            |name: &str| values.iter().find(|(setting, ..)| setting.name == name).unwrap().2.to_string();
        assert_eq!(source("rpc.logs"), "HANSA_RPC__LOGS");
        assert_eq!((source("rpc.filters"), source("rpc.batch")), ("hansa.toml".into(), "default".into()));
    }

    #[test]
    fn reference_and_schema_are_fresh() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let committed = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        let why = "run `cargo xtask codegen`";
        assert_eq!(committed("docs/reference/configuration.md"), reference(), "{why}");
        assert_eq!(committed("api/config.schema.json"), format!("{:#}\n", schema()), "{why}");
    }
}

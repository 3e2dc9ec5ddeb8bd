//! The settings of the home's node: shown, checked, documented. It asks no node and changes nothing.

use hansa_node::{Effective, Home, reference, schema};
use serde_json::{Map, Value, json};

use crate::{cli::Config, output, output::Output, problem::CliError};

pub(crate) fn run(home: &Home, command: &Config, output: Output) -> Result<(), CliError> {
    match command {
        Config::Show => show(&home.settings()?, output),
        Config::Check => {
            let settings = home.settings()?;
            let given = settings.values.iter().filter(|(.., source)| *source != hansa_node::Source::Default);
            let counts = json!({ "settings": settings.values.len(), "given": given.count() });
            output.result(&counts, |counts| {
                format!("in order: {} settings, {} of them given", counts["settings"], counts["given"])
            });
        }
        Config::Reference => output.raw(reference().as_bytes()),
        Config::Schema => output.raw(format!("{:#}\n", schema()).as_bytes()),
    }
    Ok(())
}

fn show(settings: &Effective, output: Output) {
    let entries = settings.values.iter().map(|(setting, value, source)| {
        (setting.name.clone(), json!({ "value": value, "source": source.to_string() }))
    });
    output.result(&Value::Object(entries.collect::<Map<_, _>>()), |_| {
        let rows: Vec<[String; 4]> = settings
            .values
            .iter()
            .map(|(setting, value, source)| {
                [setting.name.clone(), value.to_string(), setting.unit().to_owned(), source.to_string()]
            })
            .collect();
        output::table(&["setting", "value", "unit", "from"], &rows)
    });
}

//! Where the values of settings come from, and which wins: flags, then the environment, then a
//! TOML file, then defaults.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rerun_core::text;
use secrecy::SecretString;

use super::table::{self, ALL, Command, DatabaseUrl, Declared, LogFormat, Sensitivity, Setting};
use rerun_generate::Secrets;

/// The setting that names the TOML file. It is none of the table, since it cannot be in the file.
pub const CONFIG_VARIABLE: &str = "RERUN_CONFIG";

const PREFIX: &str = "RERUN_";
const OF_TESTS: &str = "RERUN_TEST_";

/// Settings that stop the start: every mistake, each on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(Vec<String>);

impl ConfigError {
    /// One mistake.
    #[must_use]
    pub fn new(mistake: impl Into<String>) -> Self {
        Self(vec![mistake.into()])
    }

    /// Several errors in one; none is none.
    pub(super) fn all(errors: impl IntoIterator<Item = Self>) -> Result<(), Self> {
        Self::check(errors.into_iter().flat_map(|error| error.0).collect())
    }

    /// As many mistakes as there are; none is none.
    pub(super) fn check(mistakes: Vec<String>) -> Result<(), Self> {
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(Self(mistakes))
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => f.write_str(one),
            several => {
                write!(f, "{} settings are wrong:", several.len())?;
                several
                    .iter()
                    .try_for_each(|mistake| write!(f, "\n  {mistake}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// What the process was started with.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Values of flags, by the names of their settings.
    pub flags: BTreeMap<String, String>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The TOML file that the flag `--config` names.
    pub config: Option<PathBuf>,
}

/// A value before it is parsed.
#[derive(Clone)]
struct Raw {
    text: String,
    /// How the message about a bad value names the place.
    place: String,
}

/// The text that counts for each setting that was given, all known to be good.
#[derive(Clone)]
pub struct Layers {
    values: BTreeMap<&'static str, Raw>,
}

/// The names that one layer gives, with what is wrong with it.
#[derive(Default)]
struct Layer {
    values: BTreeMap<String, Raw>,
    mistakes: Vec<String>,
}

impl Layers {
    /// Reads what `command` was started with.
    ///
    /// # Errors
    /// [`ConfigError`] naming every unknown name and bad value.
    pub fn read(command: Command, given: Given) -> Result<Self, ConfigError> {
        let flags = Layer {
            values: given
                .flags
                .into_iter()
                .map(|(name, text)| {
                    let place = format!("--{}", name.replace('_', "-"));
                    (name, Raw { text, place })
                })
                .collect(),
            mistakes: Vec::new(),
        };
        let (environment, config) = environment(given.environment);
        let file = given
            .config
            .or(config)
            .map_or_else(Layer::default, |path| file(&path));

        let layers = [flags, environment, file];
        let mut mistakes: Vec<String> = layers
            .iter()
            .flat_map(|layer| layer.mistakes.iter().cloned())
            .collect();
        let mut values = BTreeMap::new();
        for setting in ALL {
            // A secret that the command does not need may be out of its reach.
            if setting.sensitivity == Sensitivity::Secret && !setting.used_by.contains(&command) {
                continue;
            }
            let found = layers
                .iter()
                .find_map(|layer| layer.find(setting).transpose());
            match found {
                None => {}
                Some(Err(mistake)) => mistakes.push(mistake),
                Some(Ok(raw)) => match setting.check(&raw.text) {
                    Ok(()) => {
                        values.insert(setting.name, raw);
                    }
                    Err(allowed) => mistakes.push(bad_value(setting, &raw, &allowed)),
                },
            }
        }
        if mistakes.is_empty() {
            Ok(Self { values })
        } else {
            Err(ConfigError(mistakes))
        }
    }

    /// How to log, as far as it can be known before everything else was found to be good, so
    /// that also the message about what is not has the wanted form.
    #[must_use]
    pub fn log_format(given: &Given) -> LogFormat {
        let declared = &table::LOG_FORMAT.declared;
        let flag = || given.flags.get(declared.name).cloned();
        let (environment, config) = environment(given.environment.clone());
        let in_layer = |layer: &Layer| layer.values.get(declared.name).map(|raw| raw.text.clone());
        let in_file = || in_layer(&file(given.config.as_ref().or(config.as_ref())?));
        let text = flag().or_else(|| in_layer(&environment)).or_else(in_file);
        text.and_then(|text| (table::LOG_FORMAT.parse)(&text).ok())
            .unwrap_or(LogFormat::Text)
    }

    /// The secrets among the values, which nothing may show.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        let secret = |setting: &&&Declared| setting.sensitivity == Sensitivity::Secret;
        let given = ALL.iter().filter(secret).filter_map(|setting| {
            let raw = self.values.get(setting.name)?;
            Some(SecretString::from(raw.text.as_str()))
        });
        let url = self.values.get(table::DATABASE_URL.declared.name);
        let password = url.and_then(|raw| DatabaseUrl::password(&raw.text));
        // Each header's value alone: what is sent elsewhere comes back without the others.
        let headers = self.given(&table::OPENAI_HEADERS).ok().flatten();
        let headers = headers.iter().flat_map(|headers| headers.values().cloned());
        let password = password.map(SecretString::from);
        let all: Vec<SecretString> = given.chain(password).chain(headers).collect();
        Secrets::new(&all)
    }

    /// The value that was given, if one was.
    ///
    /// # Errors
    /// [`ConfigError`] for a bad value.
    pub(super) fn given<T>(&self, setting: &Setting<T>) -> Result<Option<T>, ConfigError> {
        let declared = &setting.declared;
        self.values
            .get(declared.name)
            .map(|raw| {
                (setting.parse)(&raw.text)
                    .map_err(|allowed| ConfigError::new(bad_value(declared, raw, &allowed)))
            })
            .transpose()
    }

    /// Where the value was given, if one was, as messages name it.
    pub(super) fn place(&self, setting: &Declared) -> Option<&str> {
        self.values.get(setting.name).map(|raw| raw.place.as_str())
    }

    /// The value that was given, else the default.
    ///
    /// # Errors
    /// [`ConfigError`] for a bad value, and for a setting that has no default.
    pub(super) fn value<T>(&self, setting: &Setting<T>) -> Result<T, ConfigError> {
        if let Some(value) = self.given(setting)? {
            return Ok(value);
        }
        let declared = &setting.declared;
        let default = declared
            .default
            .ok_or_else(|| ConfigError::new(missing(declared)))?;
        (setting.parse)(default).map_err(|allowed| {
            let raw = Raw {
                text: default.to_owned(),
                place: "the default".to_owned(),
            };
            ConfigError::new(bad_value(declared, &raw, &allowed))
        })
    }

    /// Makes sure that settings without a default were given.
    ///
    /// # Errors
    /// [`ConfigError`] naming every one that is missing, and how to give it.
    pub(super) fn require(&self, settings: &[&Declared]) -> Result<(), ConfigError> {
        let absent = settings
            .iter()
            .filter(|setting| !self.values.contains_key(setting.name));
        ConfigError::check(absent.map(|setting| missing(setting)).collect())
    }
}

fn missing(setting: &Declared) -> String {
    let (variable, help) = (setting.variable(), setting.sentence());
    let name = setting.name;
    if setting.sensitivity == Sensitivity::Secret {
        format!(
            "{variable} is not set ({help}): set it in the environment, name a file that holds it \
             in {variable}_FILE, or put `{name}` into the TOML file that {CONFIG_VARIABLE} names"
        )
    } else {
        format!(
            "{variable} is not set ({help}): set it, or pass --{}",
            setting.flag()
        )
    }
}

fn bad_value(setting: &Declared, raw: &Raw, allowed: &str) -> String {
    let place = &raw.place;
    match setting.sensitivity {
        Sensitivity::Shown => format!("{place} is {:?}, but must {allowed}", raw.text),
        Sensitivity::Unrepeated | Sensitivity::Secret => format!("{place} must {allowed}"),
    }
}

impl Layer {
    /// The setting's value in this layer, read from a file if it is a secret that names one.
    fn find(&self, setting: &Declared) -> Result<Option<Raw>, String> {
        let direct = self.values.get(setting.name);
        if setting.sensitivity != Sensitivity::Secret {
            return Ok(direct.cloned());
        }
        let file = self.values.get(&format!("{}_file", setting.name));
        match (direct, file) {
            (direct, None) => Ok(direct.cloned()),
            (Some(direct), Some(file)) => Err(format!(
                "{} and {} are both set: set one of them",
                direct.place, file.place
            )),
            (None, Some(file)) => {
                let Raw { text: path, place } = file;
                let text = read_text(Path::new(path)).map_err(|error| {
                    format!("{place} is {path:?}, which cannot be read: {error}")
                })?;
                // Editors and `echo` end a file with a line break that nobody means.
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text).to_owned();
                Ok(Some(Raw {
                    text,
                    place: format!("the secret in {place}"),
                }))
            }
        }
    }
}

/// Whether there is a setting of this name, the files of secrets included.
fn is_known(name: &str) -> bool {
    ALL.iter().any(|setting| {
        setting.name == name
            || (setting.sensitivity == Sensitivity::Secret
                && name.strip_suffix("_file") == Some(setting.name))
    })
}

fn unknown(what: &str, name: &str) -> String {
    let names = ALL.iter().map(|setting| setting.name);
    let mut near: Vec<(usize, &str)> = names
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .collect();
    near.sort_unstable();
    match near.first() {
        Some((distance, known)) if *distance <= 2 => {
            let known = if what.starts_with(PREFIX) {
                format!("{PREFIX}{}", known.to_uppercase())
            } else {
                (*known).to_owned()
            };
            format!("{what} is no setting; did you mean {known}?")
        }
        _ => format!("{what} is no setting; `rerun-http serve --help` lists them"),
    }
}

/// The text without a byte order mark before it, which `"$(cat FILE)"` passes on.
fn unmarked(mut text: String) -> String {
    if text.starts_with(text::BYTE_ORDER_MARK) {
        text.remove(0);
    }
    text
}

fn environment(variables: Vec<(OsString, OsString)>) -> (Layer, Option<PathBuf>) {
    let mut layer = Layer::default();
    let mut config = None;
    for (variable, value) in variables {
        let variable = variable.to_string_lossy().into_owned();
        // The first line of a file of variables may begin with a mark that its reader kept.
        let variable = unmarked(variable);
        // A compose file or a unit passes on a variable that nobody has set as an empty one.
        if !variable.starts_with(PREFIX) || variable.starts_with(OF_TESTS) || value.is_empty() {
            continue;
        }
        if variable == CONFIG_VARIABLE {
            config = Some(PathBuf::from(value));
            continue;
        }
        let name = variable.trim_start_matches(PREFIX).to_lowercase();
        if !is_known(&name) || variable != format!("{PREFIX}{}", name.to_uppercase()) {
            layer.mistakes.push(unknown(&variable, &name));
            continue;
        }
        match value.into_string() {
            Ok(text) => {
                layer.values.insert(
                    name,
                    Raw {
                        text: unmarked(text),
                        place: variable,
                    },
                );
            }
            Err(_) => layer.mistakes.push(format!("{variable} is not UTF-8")),
        }
    }
    (layer, config)
}

/// The text in a file, without a byte order mark before it.
fn read_text(path: &Path) -> io::Result<String> {
    let bytes = std::fs::read(path)?;
    let bytes = text::without_mark(&bytes).map_err(io::Error::other)?;
    let text =
        std::str::from_utf8(bytes).map_err(|_repeats| io::Error::other("it is not UTF-8"))?;
    Ok(text.to_owned())
}

fn file(path: &Path) -> Layer {
    let mut layer = Layer::default();
    let shown = path.display();
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) => {
            layer
                .mistakes
                .push(format!("{shown} cannot be read: {error}"));
            return layer;
        }
    };
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            layer.mistakes.push(not_toml(path, &text, &error));
            return layer;
        }
    };
    for (name, value) in table {
        let place = format!("`{name}` in {shown}");
        if !is_known(&name) {
            layer.mistakes.push(unknown(&place, &name));
            continue;
        }
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(truth) => truth.to_string(),
            toml::Value::Table(rules) if name == table::ROLES.declared.name => {
                match role_rules(&rules) {
                    Ok(text) => text,
                    Err(mistake) => {
                        layer.mistakes.push(format!("{place}: {mistake}"));
                        continue;
                    }
                }
            }
            other @ (toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_)) => {
                let kind = other.type_str();
                layer.mistakes.push(format!(
                    "{place} is of the type {kind}, but must be a text, a number or true or false"
                ));
                continue;
            }
        };
        layer.values.insert(name, Raw { text, place });
    }
    layer
}

/// Writes the table of role rules as the text that the other layers give. What would read
/// otherwise as text is refused.
fn role_rules(table: &toml::Table) -> Result<String, String> {
    let mut text = String::new();
    for (action, roles) in table {
        let roles: Option<Vec<&str>> = roles
            .as_array()
            .and_then(|roles| roles.iter().map(toml::Value::as_str).collect());
        let roles = roles.ok_or_else(|| format!("`{action}` must be a list of texts"))?;
        if let Some(role) = roles
            .iter()
            .find(|role| role.trim() != **role || role.contains([',', ';']))
        {
            return Err(format!(
                "`{action}` names the role {role:?}, but roles have no `,` or `;` and no blanks \
                 around them"
            ));
        }
        if action.contains(['=', ';']) {
            return Err(format!("{action:?} is no action"));
        }
        text = format!("{text}{action}={};", roles.join(","));
    }
    Ok(text)
}

/// The parser's own message shows the line, which may hold a secret.
fn not_toml(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let before = error
        .span()
        .and_then(|span| text.get(..span.start))
        .unwrap_or_default();
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    format!(
        "{} is no TOML: line {line}: {}",
        path.display(),
        error.message()
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use secrecy::ExposeSecret;
    use tempfile::NamedTempFile;

    use super::*;
    use crate::config::table::{
        API_CODE, BIND, DATABASE_URL, JWT_ISSUER, JWT_SECRET, MAX_SEGMENTS, ROLES, WORKERS,
    };

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn temporary(text: &str) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn given(flags: &[(&str, &str)], environment: &[(&str, &str)]) -> Given {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Given {
            flags: flags.iter().map(owned).collect(),
            environment: environment
                .iter()
                .map(|(n, t)| ((*n).into(), (*t).into()))
                .collect(),
            config: None,
        }
    }

    fn refused(given: Given) -> String {
        Layers::read(Command::Serve, given)
            .map(drop)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let file = temporary("workers = 3\nmax_segments = 30\njwt_issuer = \"file\"\n");
        let path = file.path().to_str().unwrap();
        let environment = [
            ("RERUN_CONFIG", path),
            ("RERUN_WORKERS", "2"),
            ("RERUN_MAX_SEGMENTS", "20"),
        ];
        let layers =
            Layers::read(Command::Serve, given(&[("workers", "1")], &environment)).unwrap();
        assert_eq!(layers.value(&WORKERS), Ok(1));
        assert_eq!(layers.value(&MAX_SEGMENTS), Ok(20));
        assert_eq!(layers.given(&JWT_ISSUER), Ok(Some("file".to_owned())));
        assert_eq!(layers.value(&BIND).unwrap().to_string(), "127.0.0.1:8080");
        assert_eq!(layers.given(&BIND), Ok(None));
    }

    #[test]
    fn the_flag_names_another_file() {
        let (one, other) = (temporary("workers = 1"), temporary("workers = 2"));
        let mut given = given(&[], &[("RERUN_CONFIG", one.path().to_str().unwrap())]);
        given.config = Some(other.path().to_owned());
        let layers = Layers::read(Command::Worker, given).unwrap();
        assert_eq!(layers.value(&WORKERS), Ok(2));
    }

    #[test]
    fn unknown_names_stop_the_start() {
        let said = refused(given(&[], &[("RERUN_BINDD", "x")]));
        assert_eq!(said, "RERUN_BINDD is no setting; did you mean RERUN_BIND?");
        for unknown in [
            "RERUN_OPENAI_MODEL_FILE",
            "RERUN_rate_limit",
            "RERUN_",
            "RERUN_BIND_FILE",
        ] {
            assert!(
                refused(given(&[], &[(unknown, "x")])).contains(unknown),
                "{unknown}"
            );
        }
        let said = refused(given(&[], &[("RERUN_bind", "127.0.0.1:1")]));
        assert_eq!(said, "RERUN_bind is no setting; did you mean RERUN_BIND?");

        let file = temporary("worker = 1\n[tables]\nx = 1\n");
        let path = file.path().to_str().unwrap();
        let said = refused(given(&[], &[("RERUN_CONFIG", path)]));
        assert!(said.contains("2 settings are wrong"), "{said}");
        assert!(said.contains(&format!(
            "`worker` in {path} is no setting; did you mean workers?"
        )));
        assert!(said.contains("`tables`"), "{said}");
    }

    #[test]
    fn what_is_for_tests_or_empty_or_of_others_is_left_alone() {
        let environment = [
            ("RERUN_TEST_DATABASE_URL", "x"),
            ("RERUN_WORKERS", ""),
            ("PATH", "x"),
            ("XRERUN_", ""),
        ];
        let layers = Layers::read(Command::Serve, given(&[], &environment)).unwrap();
        assert_eq!(layers.given(&WORKERS), Ok(None));
    }

    #[test]
    fn bad_values_are_named_with_place_and_what_is_allowed() {
        assert_eq!(
            refused(given(&[("database_pool_size", "0")], &[])),
            "--database-pool-size is \"0\", but must be a whole number from 1 to 1000"
        );
        let file = temporary("auto_migrate = \"maybe\"\n");
        let path = file.path().to_str().unwrap();
        let said = refused(given(
            &[],
            &[("RERUN_CONFIG", path), ("RERUN_LOG_FORMAT", "xml")],
        ));
        assert!(
            said.contains("RERUN_LOG_FORMAT is \"xml\", but must be text or json"),
            "{said}"
        );
        let expected = format!("`auto_migrate` in {path} is \"maybe\", but must be true or false");
        assert!(said.contains(&expected), "{said}");
    }

    #[test]
    fn a_value_that_does_not_count_is_not_judged() {
        let given = given(&[("workers", "1")], &[("RERUN_WORKERS", "many")]);
        assert_eq!(
            Layers::read(Command::Serve, given).unwrap().value(&WORKERS),
            Ok(1)
        );
    }

    #[test]
    fn files_that_are_missing_or_no_toml_are_named_without_their_text() {
        let said = refused(given(&[], &[("RERUN_CONFIG", "/nowhere/rerun.toml")]));
        assert!(
            said.starts_with("/nowhere/rerun.toml cannot be read: "),
            "{said}"
        );
        let file = temporary("workers = 1\njwt_secret = hunter2hunter2\n");
        let said = refused(given(
            &[],
            &[("RERUN_CONFIG", file.path().to_str().unwrap())],
        ));
        assert!(said.contains("is no TOML: line 2"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        let file = temporary("workers = [1]\n");
        let said = refused(given(
            &[],
            &[("RERUN_CONFIG", file.path().to_str().unwrap())],
        ));
        assert!(said.contains("of the type array"), "{said}");
    }

    #[test]
    fn secrets_come_from_environment_file_or_toml() {
        let secret = temporary(&format!("{SECRET}\r\n"));
        let path = secret.path().to_str().unwrap();
        let toml = temporary(&format!(
            "jwt_secret_file = {path:?}\napi_code = \"code\"\n"
        ));
        let config = ("RERUN_CONFIG", toml.path().to_str().unwrap());
        for environment in [
            vec![("RERUN_JWT_SECRET", SECRET), ("RERUN_API_CODE", "code")],
            vec![("RERUN_JWT_SECRET_FILE", path), ("RERUN_API_CODE", "code")],
            vec![config],
        ] {
            let layers = Layers::read(Command::Serve, given(&[], &environment)).unwrap();
            assert_eq!(layers.value(&JWT_SECRET).unwrap().expose_secret(), SECRET);
            assert_eq!(layers.value(&API_CODE).unwrap().expose_secret(), "code");
        }
        // The file that the environment names wins over the secret in the TOML file.
        let other = temporary("api");
        let environment = [
            config,
            ("RERUN_API_CODE_FILE", other.path().to_str().unwrap()),
        ];
        let layers = Layers::read(Command::Serve, given(&[], &environment)).unwrap();
        assert_eq!(layers.value(&API_CODE).unwrap().expose_secret(), "api");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_what_is_read() {
        let secret = temporary(&format!("\u{feff}{SECRET}\n"));
        let path = secret.path().to_str().unwrap();
        let toml = temporary(&format!(
            "\u{feff}jwt_secret_file = {path:?}\napi_code = \"code\"\n"
        ));
        let marked = (format!("\u{feff}{SECRET}"), "\u{feff}code");
        for environment in [
            vec![
                ("\u{feff}RERUN_JWT_SECRET", marked.0.as_str()),
                ("RERUN_API_CODE", marked.1),
            ],
            vec![("RERUN_CONFIG", toml.path().to_str().unwrap())],
        ] {
            let layers = Layers::read(Command::Serve, given(&[], &environment)).unwrap();
            assert_eq!(layers.value(&JWT_SECRET).unwrap().expose_secret(), SECRET);
            assert_eq!(layers.value(&API_CODE).unwrap().expose_secret(), "code");
        }
    }

    #[test]
    fn a_file_in_utf_16_is_refused_by_that_name() {
        let mut file = NamedTempFile::new().unwrap();
        let text = format!("\u{feff}{SECRET}");
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        file.write_all(&bytes).unwrap();
        let path = file.path().to_str().unwrap();
        for environment in [[("RERUN_JWT_SECRET_FILE", path)], [("RERUN_CONFIG", path)]] {
            let said = refused(given(&[], &environment));
            assert!(
                said.contains("it is in UTF-16, and must be in UTF-8"),
                "{said}"
            );
        }
    }

    #[test]
    fn all_that_is_secret_is_hidden_from_the_log() {
        let environment = [
            ("RERUN_JWT_SECRET", SECRET),
            ("RERUN_API_CODE", "the API code"),
            (
                "RERUN_DATABASE_URL",
                "postgres://user:hunter2hunter2@host/db",
            ),
        ];
        let layers = Layers::read(Command::Serve, given(&[], &environment)).unwrap();
        let said = format!("{SECRET}, the API code, hunter2hunter2, user, host");
        assert_eq!(layers.secrets().redact(&said), "***, ***, ***, user, host");
    }

    #[test]
    fn a_secret_is_never_in_a_message() {
        let said = refused(given(&[], &[("RERUN_JWT_SECRET", "hunter2")]));
        assert_eq!(
            said,
            "RERUN_JWT_SECRET must have at least 32 bytes; this one has 7"
        );
        let file = temporary("hunter2");
        let path = file.path().to_str().unwrap();
        let said = refused(given(&[], &[("RERUN_JWT_SECRET_FILE", path)]));
        assert!(
            said.starts_with("the secret in RERUN_JWT_SECRET_FILE must have"),
            "{said}"
        );
        let said = refused(given(
            &[],
            &[("RERUN_DATABASE_URL", "mysql://u:hunter2@host/db")],
        ));
        assert!(
            said.starts_with("RERUN_DATABASE_URL must start with sqlite://"),
            "{said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
        let environment = [("RERUN_API_CODE", "hunter2"), ("RERUN_API_CODE_FILE", path)];
        let said = refused(given(&[], &environment));
        assert_eq!(
            said,
            "RERUN_API_CODE and RERUN_API_CODE_FILE are both set: set one of them"
        );
    }

    #[test]
    fn all_missing_secrets_are_named_at_once() {
        let layers = Layers::read(Command::Serve, Given::default()).unwrap();
        let required = [&JWT_SECRET.declared, &API_CODE.declared];
        let said = layers.require(&required).unwrap_err().to_string();
        for part in [
            "RERUN_JWT_SECRET is not set",
            "RERUN_JWT_SECRET_FILE",
            "`api_code`",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn a_secret_that_the_command_does_not_need_is_not_read() {
        let environment = [
            ("RERUN_JWT_SECRET_FILE", "/nowhere"),
            ("RERUN_DATABASE_URL", "sqlite://x"),
        ];
        assert!(Layers::read(Command::Serve, given(&[], &environment)).is_err());
        let layers = Layers::read(Command::Worker, given(&[], &environment)).unwrap();
        assert!(layers.value(&DATABASE_URL).is_ok());
    }

    #[test]
    fn roles_are_a_table_or_a_text() {
        let toml =
            temporary("[roles]\ninitiate = [\"ADMIN\", \"EDITOR\"]\npublish = [\"ADMIN\"]\n");
        let config = ("RERUN_CONFIG", toml.path().to_str().unwrap());
        let read = |given: Given| Layers::read(Command::Serve, given).unwrap().given(&ROLES);
        let of_file = read(given(&[], &[config])).unwrap();
        assert!(of_file.is_some());
        let text = "publish=ADMIN; initiate=ADMIN,EDITOR";
        for same in [
            given(&[], &[("RERUN_ROLES", text)]),
            given(&[("roles", text)], &[]),
            // The text takes the place of the whole table.
            given(&[("roles", text)], &[("RERUN_ROLES", "cancel=X"), config]),
        ] {
            assert_eq!(read(same).unwrap(), of_file);
        }
        assert_eq!(read(Given::default()), Ok(None));
    }

    #[test]
    fn bad_roles_stop_the_start() {
        let said = refused(given(&[], &[("RERUN_ROLES", "initate=ADMIN")]));
        assert!(
            said.starts_with("RERUN_ROLES is \"initate=ADMIN\", but must "),
            "{said}"
        );
        assert!(
            said.contains("`initate` is none; there are archive, "),
            "{said}"
        );
        for (toml, expected) in [
            ("initate = [\"ADMIN\"]", "`initate` is none"),
            ("initiate = \"ADMIN\"", "`initiate` must be a list of texts"),
            ("initiate = [1]", "`initiate` must be a list of texts"),
            ("initiate = []", "name roles for `initiate`"),
            ("initiate = [\"\"]", "name roles for `initiate`"),
            ("initiate = [\"A,B\"]", "names the role \"A,B\""),
            ("initiate = [\"A;cancel=B\"]", "names the role"),
            ("initiate = [\" A\"]", "no blanks"),
            ("\"cancel=A;initiate\" = [\"B\"]", "is no action"),
            ("", "at least one rule"),
        ] {
            let file = temporary(&format!("[roles]\n{toml}\n"));
            let path = file.path().to_str().unwrap();
            let said = refused(given(&[], &[("RERUN_CONFIG", path)]));
            assert!(
                said.contains(&format!("`roles` in {path}")),
                "{toml}: {said}"
            );
            assert!(said.contains(expected), "{toml}: {said}");
        }
    }

    #[test]
    fn deep_toml_is_refused() {
        const DEPTH: usize = 500_000;
        for text in [
            format!("bind = {}", "[".repeat(DEPTH)),
            format!("bind = {}{}", "[".repeat(DEPTH), "]".repeat(DEPTH)),
            format!("bind = {}", "{ a = ".repeat(DEPTH)),
            format!("bind = {}1{}", "{ a = ".repeat(DEPTH), "}".repeat(DEPTH)),
            format!("{}a = 1", "a.".repeat(DEPTH)),
            format!("bind = {{ {}a = 1 }}", "a.".repeat(DEPTH)),
            format!("[{}a]", "a.".repeat(DEPTH)),
            format!("[[{}a]]", "a.".repeat(DEPTH)),
        ] {
            let file = temporary(&text);
            let config = ("RERUN_CONFIG", file.path().to_str().unwrap());
            let said = refused(given(&[], &[config]));
            assert!(said.len() < 1_000, "{said}");
        }
    }

    #[test]
    fn the_log_format_is_known_before_the_rest_is_good() {
        let toml = temporary("log_format = \"json\"\nnonsense = 1\n");
        let config = ("RERUN_CONFIG", toml.path().to_str().unwrap());
        let found = |given: Given| Layers::log_format(&given);
        assert_eq!(found(Given::default()), LogFormat::Text);
        assert_eq!(
            found(given(&[], &[config, ("RERUN_BINDD", "")])),
            LogFormat::Json
        );
        assert_eq!(
            found(given(&[], &[config, ("RERUN_LOG_FORMAT", "text")])),
            LogFormat::Text
        );
        let environment = [("RERUN_LOG_FORMAT", "text")];
        assert_eq!(
            found(given(&[("log_format", "json")], &environment)),
            LogFormat::Json
        );
        assert_eq!(found(given(&[("log_format", "xml")], &[])), LogFormat::Text);
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_are_named() {
        use std::os::unix::ffi::OsStringExt;
        let mut given = Given::default();
        given
            .environment
            .push(("RERUN_LOG".into(), OsString::from_vec(vec![0xff])));
        assert_eq!(refused(given), "RERUN_LOG is not UTF-8");
    }
}

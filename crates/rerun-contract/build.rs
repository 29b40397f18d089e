//! Lists the cases: every `pub async fn` of every module in `src/suite`.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=src/suite");
    let files = fs::read_dir("src/suite")?.map(|file| Ok(file?.path()));
    let mut files = files.collect::<io::Result<Vec<_>>>()?;
    files.sort();
    let mut list = String::new();
    for file in files {
        let module = file.file_stem().unwrap_or_default().to_string_lossy();
        if module == "mod" || file.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&file)?;
        let cases: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("pub async fn ")?.split('<').next())
            .collect();
        if cases.is_empty() {
            let message = format!("{} has no case", file.display());
            return Err(io::Error::other(message));
        }
        let cases = cases.join(",\n");
        list = format!("{list}{module} {{\n{cases},\n}}\n");
    }
    let name = env::var("OUT_DIR").map_err(io::Error::other)?;
    let text = format!(
        "#[doc(hidden)]\n#[macro_export]\nmacro_rules! each_case {{\n\
         ($fresh:ident) => {{ $crate::store_contract! {{ @modules $fresh\n{list}}} }};\n}}\n"
    );
    fs::write(Path::new(&name).join("cases.rs"), text)
}

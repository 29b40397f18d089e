//! The inputs that fuzzing starts from, and those that once broke a promise, on every test run.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use rerun_fuzz::TARGETS;

#[test]
fn no_seed_breaks_a_promise() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut broken = Vec::new();
    for (name, target) in TARGETS {
        let files: Vec<_> = fs::read_dir(seeds.join(name)).unwrap().collect();
        assert!(!files.is_empty(), "{name} has no seeds");
        for file in files {
            let path = file.unwrap().path();
            let data = fs::read(&path).unwrap();
            if catch_unwind(|| target(&data)).is_err() {
                broken.push(path);
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_folder_of_seeds_has_a_target() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut folders: Vec<_> = fs::read_dir(seeds)
        .unwrap()
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, TARGETS.map(|(name, _)| name));
}

//! Files as they should be.

use std::process::Command;

use halfspace_testbed::{Requirement, ready};

use super::*;

#[test]
fn a_file_has_ec2s_name_and_begins_with_the_names_of_the_fields() {
    let mut bench = Bench::new("");
    run(async {
        let mut writer = bench.writer(Plain);
        bench.write(&mut writer, 3).await;
        let files = bench.files();
        let [file] = &files[..] else { panic!("{files:?}") };
        let name = file.file_name().unwrap().to_str().unwrap();
        let hash = name
            .strip_prefix("123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20180620T1620Z_")
            .and_then(|rest| rest.strip_suffix(".log"))
            .unwrap_or_else(|| panic!("{name}"));
        assert!(hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
        let expected = with_header(&lines(1..=3));
        assert_eq!(fs::read_to_string(file).unwrap(), expected);
        let counts = bench.counts();
        assert_eq!((counts.records, counts.files, counts.lost), (3, 1, 0));
        assert_eq!(counts.bytes, expected.len() as u64);
    });
}

#[test]
fn io_uring_writes_the_same_files() {
    if !has_uring() {
        return;
    }
    let mut bench = Bench::new("");
    uring::runtime().unwrap().block_on(async {
        let mut writer = bench.writer(uring::Uring);
        // More than the kernel takes at once.
        for _ in 0..12 {
            bench.write(&mut writer, 1000).await;
        }
        writer.finish(bench.moment).await;
    });
    let files = bench.files();
    assert_eq!(files.len(), 1);
    assert!(has_lines(&fs::read_to_string(&files[0]).unwrap(), &lines(1..=12_000)));
    assert_eq!(bench.counts().records, 12_000);
}

#[test]
fn what_a_document_says_cannot_lead_a_file_elsewhere() {
    let hostile = DOCUMENT.replace("123456789012", "../../etc/x").replace("us-east-1b", "/a/../9z");
    let document = toml::from_str(&hostile).unwrap();
    let refused = nf_core::vpc::Snapshot::build(nf_core::id::Generation(1), &document).unwrap_err();
    let paths: Vec<_> = refused.iter().map(|it| it.path.to_string()).collect();
    assert_eq!(paths, ["vpc[0].owner_id", "subnet[0].availability_zone"]);
}

#[test]
fn another_file_is_begun_at_multiples_of_five_minutes() {
    let mut bench = Bench::new("");
    run(async {
        let mut writer = bench.writer(Plain);
        bench.write(&mut writer, 1).await;
        // To 16:24:57 of the same span, then to 16:25:00.
        bench.pass(Duration::from_secs(290 - 6));
        bench.write(&mut writer, 1).await;
        bench.write(&mut writer, 1).await;
        writer.finish(bench.moment).await;
    });
    let files = bench.files();
    let texts: Vec<_> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    assert_eq!(texts, [with_header(&lines(1..=2)), with_header(&lines(3..=3))]);
    let stamps = ["_20180620T1620Z_", "_20180620T1625Z_"];
    for (file, stamp) in files.iter().zip(stamps) {
        assert!(file.to_str().unwrap().contains(stamp), "{file:?}");
    }
}

#[test]
fn another_file_is_begun_when_one_is_full() {
    let mut bench = Bench::new("");
    bench.rotation.bytes = 200;
    run(async {
        let mut writer = bench.writer(Plain);
        for _ in 0..10 {
            bench.write(&mut writer, 5).await;
        }
        writer.finish(bench.moment).await;
    });
    let files = bench.files();
    assert_eq!(files.len(), 10 * 5 * 15 / 150, "{files:?}");
    let mut all = String::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.len() <= 200, "{text}");
        all += text.strip_prefix(&with_header("")).unwrap();
    }
    assert!(has_lines(&with_header(&all), &lines(1..=50)), "{all}");
    assert_eq!(bench.counts().files, files.len() as u64);
}

#[test]
fn a_compressed_file_is_read_by_gunzip_at_any_time() {
    if !ready(&[Requirement::Program("gunzip")]) {
        return;
    }
    let mut bench = Bench::new("destination_options = { compression = \"gzip\" }");
    let read = |file: &PathBuf| {
        let output = Command::new("gunzip").arg("-c").arg(file).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(async {
        let mut writer = bench.writer(Plain);
        bench.write(&mut writer, 500).await;
        let files = bench.files();
        assert_eq!(files.len(), 1);
        assert!(files[0].to_str().unwrap().ends_with(".log.gz"), "{files:?}");
        assert!(has_lines(&read(&files[0]), &lines(1..=500)), "while it is written to");
        bench.write(&mut writer, 500).await;
        writer.finish(bench.moment).await;
        assert!(has_lines(&read(&files[0]), &lines(1..=1000)));
        let size = fs::metadata(&files[0]).unwrap().len();
        assert!(size < lines(1..=1000).len() as u64 / 2, "{size}");
        assert_eq!(bench.counts().bytes, size);
    });
}

#[test]
fn a_log_that_changes_goes_on_in_another_file_and_its_lines_keep_their_form() {
    let mut bench = Bench::new("");
    run(async {
        let mut writer = bench.writer(Plain);
        for batch in bench.batches(2) {
            writer.take(&batch);
        }
        bench.reload("srcport protocol", "");
        bench.write(&mut writer, 1).await;
        writer.finish(bench.moment).await;
    });
    let mut texts: Vec<_> =
        bench.files().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    texts.sort();
    assert_eq!(texts, [with_header(&lines(1..=2)), "srcport protocol\n3 17\n".to_owned()]);
}

#[test]
fn a_file_is_ended_when_its_time_is_over_though_nothing_comes() {
    let mut bench = Bench::new("");
    run(async {
        let mut writer = bench.writer(Counting(Plain));
        bench.write(&mut writer, 1).await;
        assert_eq!(open_files(), 1);
        bench.pass(Duration::from_mins(5));
        writer.work(bench.moment).await;
        assert_eq!(open_files(), 0);
    });
}

thread_local! {
    static OPEN: std::cell::Cell<i32> = const { std::cell::Cell::new(0) };
}

fn open_files() -> i32 {
    OPEN.get()
}

/// Counts the files that are open.
struct Counting(Plain);

impl Sink for Counting {
    type File = fs::File;

    async fn create(&self, path: &std::path::Path) -> io::Result<fs::File> {
        OPEN.set(OPEN.get() + 1);
        self.0.create(path).await
    }

    async fn write(
        &self,
        file: &fs::File,
        bytes: Vec<u8>,
        offset: u64,
    ) -> (io::Result<()>, Vec<u8>) {
        self.0.write(file, bytes, offset).await
    }

    async fn close(&self, file: fs::File) -> io::Result<()> {
        OPEN.set(OPEN.get() - 1);
        self.0.close(file).await
    }
}

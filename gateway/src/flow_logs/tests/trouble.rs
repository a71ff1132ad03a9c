//! Disks that are full, slow or broken, and kernels without `io_uring`.

use std::cell::Cell;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::rc::Rc;

use halfspace_testbed::{Requirement, ready};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::*;

/// Fails as it is told, after half of what is to be written.
#[derive(Clone, Default)]
struct Faulty {
    with: Rc<Cell<Option<ErrorKind>>>,
    attempts: Rc<Cell<u32>>,
}

impl Sink for Faulty {
    type File = fs::File;

    async fn create(&self, path: &Path) -> io::Result<fs::File> {
        Plain.create(path).await
    }

    async fn write(
        &self,
        file: &fs::File,
        bytes: Vec<u8>,
        offset: u64,
    ) -> (io::Result<()>, Vec<u8>) {
        self.attempts.set(self.attempts.get() + 1);
        let Some(error) = self.with.get() else { return Plain.write(file, bytes, offset).await };
        let half = bytes[..bytes.len() / 2].to_vec();
        Plain.write(file, half, offset).await.0.unwrap();
        (Err(error.into()), bytes)
    }

    async fn close(&self, file: fs::File) -> io::Result<()> {
        Plain.close(file).await
    }
}

/// The text of all files, without their headers.
fn all_lines(bench: &Bench) -> Vec<String> {
    let mut all = Vec::new();
    for file in bench.files() {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.ends_with('\n'), "half a line: {text:?}");
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(HEADER));
        all.extend(lines.map(str::to_owned));
    }
    all
}

fn lines_of(ports: std::ops::RangeInclusive<u16>) -> Vec<String> {
    lines(ports).lines().map(str::to_owned).collect()
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[test]
fn a_disk_that_is_full_for_a_while_costs_nothing() {
    let mut bench = Bench::new("");
    let sink = Faulty::default();
    run(async {
        let mut writer = bench.writer(sink.clone());
        bench.write(&mut writer, 10).await;
        sink.with.set(Some(ErrorKind::StorageFull));
        bench.write(&mut writer, 10).await;
        assert_eq!(bench.counts().error.as_deref(), Some("no storage space"));
        bench.write(&mut writer, 10).await;
        assert_eq!(bench.statistics.failures(), 2);
        sink.with.set(None);
        bench.write(&mut writer, 10).await;
    });
    assert_eq!(sorted(all_lines(&bench)), sorted(lines_of(1..=40)));
    let counts = bench.counts();
    assert_eq!((counts.records, counts.files, counts.lost, counts.error), (40, 1, 0, None));
}

#[test]
fn attempts_become_rarer() {
    let mut bench = Bench::new("");
    let sink = Faulty::default();
    run(async {
        let mut writer = bench.writer(sink.clone());
        bench.write(&mut writer, 10).await;
        sink.with.set(Some(ErrorKind::StorageFull));
        bench.write(&mut writer, 10).await;
        let before = sink.attempts.get();
        for _ in 0..600 {
            bench.pass(Duration::from_secs(1));
            writer.work(bench.moment).await;
        }
        // After 1/4 s, 1/2 s and so on, then every half minute.
        let attempts = sink.attempts.get() - before;
        assert!((20..30).contains(&attempts), "{attempts}");
    });
}

#[test]
fn a_file_that_fails_for_another_reason_is_left_with_whole_lines() {
    let mut bench = Bench::new("");
    let sink = Faulty::default();
    run(async {
        let mut writer = bench.writer(sink.clone());
        bench.write(&mut writer, 10).await;
        sink.with.set(Some(ErrorKind::Other));
        bench.write(&mut writer, 10).await;
        sink.with.set(None);
        bench.write(&mut writer, 10).await;
    });
    assert_eq!(sorted(all_lines(&bench)), sorted(lines_of(1..=30)));
    assert_eq!(bench.counts().files, 2);
}

#[test]
fn what_a_stuck_disk_costs_is_counted_and_said_of_the_interface() {
    let mut bench = Bench::new("");
    let sink = Faulty::default();
    let mut made = 0;
    run(async {
        let mut writer = bench.writer(sink.clone());
        sink.with.set(Some(ErrorKind::StorageFull));
        while bench.counts().lost == 0 {
            let batches = bench.batches(1000);
            for batch in &batches {
                // The same again and again.
                for _ in 0..200 {
                    writer.take(batch);
                    made += batch.records.len() as u64;
                }
            }
            writer.work(bench.moment).await;
        }
        let lost = bench.counts().lost;
        assert_eq!(bench.statistics.losses()[Loss::WriteFailed as usize], lost);
        sink.with.set(None);
        bench.pass(Duration::from_mins(1));
        writer.work(bench.moment).await;
        bench.write(&mut writer, 1).await;
        made += 1;
    });
    let all = all_lines(&bench);
    let counts = bench.counts();
    assert_eq!(counts.records + counts.lost, made + 1, "one more says that some are missing");
    assert_eq!(all.len() as u64, counts.records);
    let last_two = &all[all.len() - 2..];
    assert_eq!(last_two[0], "eni-b - - SKIPDATA");
    assert!(last_two[1].ends_with(" 1 OK"), "{last_two:?}");
    assert_eq!(all.iter().filter(|line| line.ends_with("SKIPDATA")).count(), 1);
}

#[test]
fn what_cannot_be_written_to_the_end_is_counted() {
    let mut bench = Bench::new("");
    let sink = Faulty::default();
    run(async {
        let mut writer = bench.writer(sink.clone());
        bench.write(&mut writer, 10).await;
        sink.with.set(Some(ErrorKind::StorageFull));
        for batch in bench.batches(7) {
            writer.take(&batch);
        }
        writer.finish(bench.moment).await;
    });
    assert_eq!(all_lines(&bench).len(), 10);
    assert_eq!(bench.counts().lost, 7);
    assert_eq!(bench.statistics.losses()[Loss::Stopped as usize], 7);
}

#[test]
fn a_directory_that_cannot_be_made_is_tried_again() {
    let mut bench = Bench::new("");
    fs::write(bench.root.path().join("out"), "in the way").unwrap();
    run(async {
        let mut writer = bench.writer(Plain);
        bench.write(&mut writer, 5).await;
        assert!(bench.counts().error.is_some());
        fs::remove_file(bench.root.path().join("out")).unwrap();
        bench.write(&mut writer, 5).await;
    });
    assert_eq!(all_lines(&bench).len(), 10);
}

/// A file system with room for 64 KiB, on which every kernel says what it says of a full disk.
fn on_a_small_disk<S: Sink>(bench: &mut Bench, sink: S) -> impl Future<Output = ()> {
    let out = bench.root.path().join("out");
    fs::create_dir(&out).unwrap();
    // This thread alone sees it.
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
    mount(Some("tmpfs"), &out, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
    async move {
        let mut writer = bench.writer(sink);
        bench.write(&mut writer, 100).await;
        let filler = out.join("filler");
        let mut file = fs::File::create(&filler).unwrap();
        while file.write_all(&[0; 1024]).is_ok() {}
        while bench.counts().error.is_none() {
            bench.write(&mut writer, 500).await;
        }
        let full = bench.counts();
        fs::remove_file(&filler).unwrap();
        drop(file);
        bench.write(&mut writer, 100).await;
        writer.finish(bench.moment).await;
        let counts = bench.counts();
        assert!(counts.records > full.records, "{counts:?}");
        assert_eq!((counts.lost, &counts.error), (0, &None));
        let expected = lines_of(1..=bench.next_port - 1);
        assert!(sorted(all_lines(bench)) == sorted(expected), "each line is there once");
    }
}

#[test]
fn a_disk_that_is_really_full_costs_nothing_once_there_is_room() {
    if !ready(&[Requirement::Root]) {
        return;
    }
    let alone = std::thread::spawn(|| {
        let mut bench = Bench::new("");
        let test = on_a_small_disk(&mut bench, Plain);
        run(test);
    });
    alone.join().unwrap();
    if !has_uring() {
        return;
    }
    let alone = std::thread::spawn(|| {
        let mut bench = Bench::new("");
        let test = on_a_small_disk(&mut bench, uring::Uring);
        uring::runtime().unwrap().block_on(test);
    });
    alone.join().unwrap();
}

/// Has the kernel refuse `io_uring` to this thread, as the profiles of containers do.
fn forbid_uring() {
    nix::sys::prctl::set_no_new_privs().unwrap();
    let statement = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let (load, equal, give) = (
        (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
        (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        (libc::BPF_RET | libc::BPF_K) as u16,
    );
    let mut program = [
        statement(load, 0, 0, 0),
        statement(equal, libc::SYS_io_uring_setup as u32, 0, 1),
        statement(give, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0, 0),
        statement(give, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let filter = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
    // SAFETY: the filter and its program live for the call, which copies them.
    let result =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

#[test]
fn where_io_uring_is_not_allowed_files_are_written_all_the_same() {
    let mut bench = Bench::new("");
    let batches = bench.batches(5);
    let (directory, rotation) = (bench.root.path().to_owned(), bench.rotation);
    let statistics = bench.statistics.clone();
    let (sender, receiver) = mpsc::channel(8);
    for batch in batches {
        sender.try_send(batch).unwrap();
    }
    drop(sender);
    let alone = std::thread::spawn(move || {
        forbid_uring();
        write(receiver, WriterChoice::Auto, directory, rotation, &statistics);
    });
    alone.join().unwrap();
    let (kind, why) = bench.statistics.writer().unwrap();
    assert_eq!(kind, WriterKind::Plain);
    assert!(why.contains("Operation not permitted"), "{why}");
    assert_eq!(all_lines(&bench).len(), 5);

    let asked_for = std::thread::spawn(|| {
        forbid_uring();
        let mut config = NodeConfig::default();
        config.flow_log_writer = WriterChoice::Uring;
        FlowLogs::new(&config).map(drop).map_err(|error| error.to_string())
    });
    let error = asked_for.join().unwrap().unwrap_err();
    assert!(error.contains("set flow_log_writer to auto or plain"), "{error}");
}

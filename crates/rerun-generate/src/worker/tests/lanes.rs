use super::*;

/// Its queue has no end, and results take a second to be stored.
const LONG: AccountId = AccountId::new(Uuid::nil());

/// It has a message now and then.
const SHORT: AccountId = AccountId::new(Uuid::from_u128(7));

struct Beside {
    begun: Instant,
    has_long: bool,
    short: Mutex<Option<GenerationTask>>,
    /// How long it takes to store results of the short one, and when they were stored.
    short_takes: Duration,
    short_is_stored: Mutex<Vec<Duration>>,
    /// What its last lease is.
    short_lease: Mutex<Option<LeaseId>>,
    short_is_cancelled: bool,
    /// How often results of the long queue are being stored now, and were at most.
    storing: AtomicUsize,
    storing_at_most: AtomicUsize,
}

impl Beside {
    fn new(has_long: bool, short_takes: Duration) -> Self {
        Self {
            begun: Instant::now(),
            has_long,
            short: Mutex::default(),
            short_takes,
            short_is_stored: Mutex::default(),
            short_lease: Mutex::default(),
            short_is_cancelled: false,
            storing: AtomicUsize::default(),
            storing_at_most: AtomicUsize::default(),
        }
    }

    fn add_short(&self, wake: &Notify) {
        *self.short.lock().unwrap() = Some(GenerationTask {
            account_id: SHORT,
            ..task(1)
        });
        wake.notify_one();
    }
}

#[async_trait]
impl GenerationQueue for Beside {
    async fn due_accounts(
        &self,
        after: Option<AccountId>,
        limit: u32,
        _: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        let short = self.short.lock().unwrap().as_ref().map(|_| SHORT);
        let due = [self.has_long.then_some(LONG), short].into_iter().flatten();
        let due = due.filter(|account| Some(*account) > after);
        Ok(due.take(limit.try_into().unwrap()).collect())
    }

    async fn lease(&self, request: LeaseTasks) -> Result<Vec<GenerationTask>, StoreError> {
        Ok(if request.account_id == SHORT {
            *self.short_lease.lock().unwrap() = Some(request.lease);
            self.short.lock().unwrap().take().into_iter().collect()
        } else {
            tasks(0..request.limit.into())
        })
    }

    async fn examples(
        &self,
        _: AccountId,
        _: Vec<MessageId>,
    ) -> Result<Vec<NearestMessage>, StoreError> {
        Ok(Vec::new())
    }

    async fn renew(&self, lease: LeaseId, _: Timestamp, _: Timestamp) -> Result<u64, StoreError> {
        let is_short = *self.short_lease.lock().unwrap() == Some(lease);
        Ok(u64::from(!(is_short && self.short_is_cancelled)))
    }

    async fn release(&self, _: LeaseId, _: Timestamp) -> Result<u64, StoreError> {
        Ok(1)
    }

    async fn settle(&self, settle: SettleRun) -> Result<SettledRun, StoreError> {
        if settle.account_id == SHORT {
            sleep(self.short_takes).await;
            let mut stored = self.short_is_stored.lock().unwrap();
            stored.push(self.begun.elapsed());
        } else {
            let storing = self.storing.fetch_add(1, Ordering::SeqCst) + 1;
            self.storing_at_most.fetch_max(storing, Ordering::SeqCst);
            sleep(Duration::from_secs(1)).await;
            self.storing.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(SettledRun::default())
    }
}

#[tokio::test(start_paused = true)]
async fn another_account_is_served_while_results_of_a_long_queue_are_stored() {
    let store = Arc::new(Beside::new(true, Duration::ZERO));
    let (worker, wake) = worker_over(store.clone(), Arc::new(Slow::default()), 4);
    let queued_at = Duration::from_millis(2_100);
    let others = async {
        sleep(queued_at).await;
        store.add_short(&wake);
    };
    tokio::join!(run_for(&worker, Duration::from_secs(10)), others);
    let stored_at = store.short_is_stored.lock().unwrap();
    assert_eq!(
        *stored_at,
        [queued_at],
        "it waits for no results of the other"
    );
    let at_most = store.storing_at_most.load(Ordering::SeqCst);
    assert_eq!(at_most, 1, "an account is in one lane at a time");
}

/// A notification wakes one lane alone, whichever has waited longer.
#[tokio::test(start_paused = true)]
async fn what_is_queued_after_work_is_leased_at_once() {
    let world = World::of(vec![Ok(tasks(0..4))]);
    let generator = Arc::new(Slow {
        takes: Duration::from_millis(50),
        ..Slow::default()
    });
    let (worker, wake) = worker(&world, generator, 4);
    let queued_at = [60, 130, 200, 270];
    let others = async {
        for (n, at) in (1..).zip(queued_at) {
            sleep(Duration::from_millis(at)).await;
            let next = Ok(tasks(4 * n..4 * n + 4));
            world.due.lock().unwrap().push_back(next);
            wake.notify_one();
        }
    };
    tokio::join!(run_for(&worker, Duration::from_secs(2)), others);
    let settled = world.settled.lock().unwrap();
    let times: Vec<Duration> = settled.iter().map(|(at, _)| *at).collect();
    let mut expected = vec![Duration::from_millis(50)];
    let mut at = Duration::ZERO;
    for after in queued_at {
        at += Duration::from_millis(after);
        expected.push(at + Duration::from_millis(50));
    }
    assert_eq!(times, expected);
}

/// The lane that is woken may not be the one that has the account.
#[tokio::test(start_paused = true)]
async fn what_is_queued_while_its_account_is_served_is_leased_when_that_ends() {
    let millis = Duration::from_millis;
    let store = Arc::new(Beside::new(false, millis(100)));
    let (worker, wake) = worker_over(store.clone(), Arc::new(Slow::default()), 4);
    let (mut queued, mut expected) = (Vec::new(), Vec::new());
    for begin in [0, 310, 650, 990, 1_470] {
        queued.extend([millis(begin), millis(begin + 60)]);
        expected.extend([millis(begin + 100), millis(begin + 200)]);
    }
    let others = async {
        for at in queued {
            sleep(at.saturating_sub(store.begun.elapsed())).await;
            store.add_short(&wake);
        }
    };
    tokio::join!(run_for(&worker, Duration::from_secs(3)), others);
    assert_eq!(*store.short_is_stored.lock().unwrap(), expected);
}

/// A call may cost money.
#[tokio::test(start_paused = true)]
async fn what_is_cancelled_while_it_waits_for_calls_of_another_account_is_not_generated() {
    let seconds = Duration::from_secs;
    for short_is_cancelled in [false, true] {
        let store = Arc::new(Beside {
            short_is_cancelled,
            ..Beside::new(true, Duration::ZERO)
        });
        let generator = Arc::new(Slow {
            takes: seconds(20),
            ..Slow::default()
        });
        let (worker, wake) = worker_over(store.clone(), generator, 1);
        let others = async {
            sleep(seconds(1)).await;
            store.add_short(&wake);
        };
        tokio::join!(run_for(&worker, seconds(50)), others);
        let stored = store.short_is_stored.lock().unwrap().len();
        assert_eq!(stored, usize::from(!short_is_cancelled));
    }
}

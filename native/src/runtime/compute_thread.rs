//! The model's one compute thread: takes jobs in order, runs them, reports each outcome.
//!
//! Owns the session; the runtime and the buffers it shares. The pool's other threads help inside kernels only.
//! Knows nothing of N-API: a job carries the closure that reports.
//!
//! I1: jobs run one at a time, in the order they were sent. I2: a failure or panic of a job ends that job only.
//! I3: `stop` returns after the last job, with session and its share of the runtime freed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use ingot_sampler::Sampler;
use ort::environment::Environment;

use super::environment::enter_job;
use super::model_runtime::ModelRuntime;
use super::session::{ModelSession, StepCounts};
use super::step_buffers::StepBuffers;
use super::step_inputs::check_rows;
use super::weights::WeightSource;
use crate::failure::{Code, Failure, Outcome};

pub enum Work {
    LoadWeights(Vec<(String, WeightSource)>),
    Pack(PackWork, PackFile),
    CreateSession(Vec<u8>),
    Step(StepCounts),
}

pub enum PackWork {
    Open,
    Begin,
    End,
}

/// Where packed weights lie, and of what they are the packed form.
pub struct PackFile {
    pub path: String,
    pub key: String,
}

/// Called once, on the compute thread, with the job's outcome.
pub type Report = Box<dyn FnOnce(Outcome<()>) + Send>;

/// What the thread works on.
pub struct Parts {
    pub environment: Environment,
    pub runtime: Arc<ModelRuntime>,
    pub buffers: Arc<StepBuffers>,
    pub sampler: Arc<Mutex<Sampler>>,
}

pub struct ComputeThread {
    jobs: Option<Sender<(Work, Report)>>,
    thread: Option<JoinHandle<()>>,
}

impl ComputeThread {
    pub fn start(parts: Parts) -> Outcome<Self> {
        let (jobs, queue) = channel();
        let thread = std::thread::Builder::new()
            .name("ingot-compute".to_owned())
            .spawn(move || serve(parts, &queue))
            .map_err(|cause| {
                Failure::new(
                    Code::OutOfMemory,
                    format_args!("cannot start the compute thread: {cause}"),
                )
            })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Queue a job; never blocks.
    pub fn send(&self, work: Work, report: Report) {
        let refused = match &self.jobs {
            Some(jobs) => jobs.send((work, report)).err().map(|error| error.0.1),
            None => Some(report),
        };
        if let Some(report) = refused {
            report(Err(Failure::new(
                Code::Disposed,
                "the compute thread has ended; make a new model",
            )));
        }
    }

    /// I3. Blocks while a job is under way.
    pub fn stop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Its panics were caught job by job; there is nothing to learn from the result.
            let _ = thread.join();
        }
    }
}

impl Drop for ComputeThread {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(parts: Parts, queue: &Receiver<(Work, Report)>) {
    let mut session = None;
    while let Ok((work, report)) = queue.recv() {
        let _job = enter_job();
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&parts, &mut session, work)))
            .unwrap_or_else(|payload| Err(Failure::from_panic("the compute thread", &*payload)));
        report(outcome);
    }
    let _job = enter_job();
    drop(session);
}

fn run(parts: &Parts, session: &mut Option<ModelSession>, work: Work) -> Outcome<()> {
    match work {
        Work::LoadWeights(_) | Work::Pack(..) | Work::CreateSession(_) if session.is_some() => {
            Err(Failure::new(
                Code::State,
                "the session is made already; make a new model for other weights or another graph",
            ))
        }
        Work::LoadWeights(sources) => parts.runtime.weights.load(&sources, &parts.runtime.pool),
        Work::Pack(work, PackFile { path, key }) => {
            let weights = &parts.runtime.weights;
            match work {
                PackWork::Open => weights.open_pack(&path, &key, &parts.runtime.pool),
                PackWork::Begin => weights.begin_pack(&path, &key),
                PackWork::End => weights.end_pack(&path, &key, &parts.runtime.pool),
            }
        }
        Work::CreateSession(onnx) => {
            *session = Some(ModelSession::new(
                &parts.environment,
                &parts.runtime,
                &onnx,
            )?);
            Ok(())
        }
        Work::Step(counts) => {
            let session = session.as_mut().ok_or_else(|| {
                Failure::new(
                    Code::State,
                    "there is no session; call createSession before step",
                )
            })?;
            check_rows(&parts.buffers, counts)?;
            let ModelRuntime {
                profile, adapters, ..
            } = &*parts.runtime;
            profile.time("step", "", || {
                let computed = session.run(&parts.buffers, counts);
                adapters.end_step();
                computed?;
                profile.time("sampling", "", || sample(parts, counts.logits_rows))
            })
        }
    }
}

/// Draw from the step's logits rows.
fn sample(parts: &Parts, rows: usize) -> Outcome<()> {
    if rows == 0 {
        return Ok(());
    }
    let buffers = &parts.buffers;
    let mut sampler = parts.sampler.lock().unwrap_or_else(PoisonError::into_inner);
    let pool = &parts.runtime.pool;
    // SAFETY: a step is under way, so JavaScript neither reads outputs nor writes inputs (`StepBuffers` I2), and the
    // session's run has ended.
    unsafe {
        buffers.sampling.draw(&mut sampler, rows, &|chunks, job| {
            pool.run(chunks, job);
        })
    }
}

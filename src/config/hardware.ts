/**
 * What this process may use of the machine: physical cores and memory, with affinity masks and cgroup limits counted.
 *
 * Owns nothing; reads /proc and /sys through a function that tests replace. A file that is absent (another system, no
 * cgroup) means no limit from there. Knows nothing of models.
 */

import { readFileSync } from 'node:fs'
import { availableParallelism, freemem, totalmem } from 'node:os'

export interface Hardware {
  /** Cores that compute at full speed side by side; ≥ 1. */
  readonly numPhysicalCores: number
  /** How that number came to be, in one sentence. */
  readonly coresReason: string
  readonly totalMemoryBytes: number
  /** What can still be taken without swapping or hitting the cgroup's limit. */
  readonly freeMemoryBytes: number
  readonly memoryReason: string
}

/** Text of a file, or `undefined` when there is none that can be read. */
export type ReadText = (path: string) => string | undefined

/** What Node itself knows, used where the system's files say nothing. */
export interface NodeView {
  readonly availableParallelism: number
  readonly totalMemoryBytes: number
  readonly freeMemoryBytes: number
}

/** Read the machine. Cost: some small files; about 1 ms. */
export function detectHardware(
  readText: ReadText = readTextFile,
  node: NodeView = nodeView(),
): Hardware {
  return { ...detectCores(readText, node), ...detectMemory(readText, node) }
}

function nodeView(): NodeView {
  return {
    availableParallelism: availableParallelism(),
    totalMemoryBytes: totalmem(),
    freeMemoryBytes: freemem(),
  }
}

/** CPUs that this process may run on; empty where the system does not say. */
export function allowedCpus(readText: ReadText = readTextFile): readonly number[] {
  const status = readText('/proc/self/status') ?? ''
  const text = /^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1]
  return text === undefined ? [] : parseCpuList(text)
}

function detectCores(
  readText: ReadText,
  node: NodeView,
): Pick<Hardware, 'numPhysicalCores' | 'coresReason'> {
  const allowed = allowedCpus(readText)
  const siblings = new Set<string>()
  for (const cpu of allowed) {
    const folder = `/sys/devices/system/cpu/cpu${cpu}/topology`
    const list = readText(`${folder}/core_cpus_list`) ?? readText(`${folder}/thread_siblings_list`)
    siblings.add(list?.trim() || String(cpu))
  }
  const numCores = siblings.size > 0 ? siblings.size : node.availableParallelism
  const parts = [
    siblings.size > 0
      ? `${numCores} physical cores among the ${allowed.length} CPUs that the process may use`
      : `${numCores} CPUs that the process may use`,
  ]
  const quota = cpuQuota(readText)
  if (quota !== null) parts.push(`cgroup quota of ${quota} CPUs`)
  const limit = quota === null ? numCores : Math.max(1, Math.floor(quota))
  return { numPhysicalCores: Math.max(1, Math.min(numCores, limit)), coresReason: parts.join(', ') }
}

function detectMemory(
  readText: ReadText,
  node: NodeView,
): Pick<Hardware, 'totalMemoryBytes' | 'freeMemoryBytes' | 'memoryReason'> {
  const meminfo = readText('/proc/meminfo') ?? ''
  const total = kibibytes(meminfo, 'MemTotal') ?? node.totalMemoryBytes
  const available = kibibytes(meminfo, 'MemAvailable') ?? node.freeMemoryBytes
  const cgroup = memoryLimit(readText)
  if (cgroup === null || cgroup.limitBytes >= total) {
    return { totalMemoryBytes: total, freeMemoryBytes: available, memoryReason: 'free memory' }
  }
  const left = Math.max(0, cgroup.limitBytes - cgroup.usedBytes)
  return {
    totalMemoryBytes: cgroup.limitBytes,
    freeMemoryBytes: Math.min(left, available),
    memoryReason: left < available ? 'memory left under the cgroup limit' : 'free memory',
  }
}

/** CPUs a second of time buys, or `null` without a limit. The strictest level of the hierarchy counts. */
function cpuQuota(readText: ReadText): number | null {
  let quota: number | null = null
  for (const folder of cgroupFolders(readText, 'cpu')) {
    const [max, period] = (readText(`${folder}/cpu.max`) ?? '').trim().split(/\s+/)
    const v1Quota = readText(`${folder}/cpu.cfs_quota_us`)
    const v1Period = readText(`${folder}/cpu.cfs_period_us`)
    const cpus = Number(max || v1Quota) / Number(period || v1Period)
    if (Number.isFinite(cpus) && cpus > 0) quota = Math.min(quota ?? cpus, cpus)
  }
  return quota
}

function memoryLimit(readText: ReadText): { limitBytes: number; usedBytes: number } | null {
  let strictest: { limitBytes: number; usedBytes: number } | null = null
  for (const folder of cgroupFolders(readText, 'memory')) {
    const limit = readText(`${folder}/memory.max`) ?? readText(`${folder}/memory.limit_in_bytes`)
    const used = readText(`${folder}/memory.current`) ?? readText(`${folder}/memory.usage_in_bytes`)
    const limitBytes = Number(limit?.trim() || 'max')
    if (!Number.isFinite(limitBytes)) continue
    // Cached file pages count as used and go first when memory is asked for.
    const cache = /^(?:inactive_file|total_inactive_file) (\d+)$/m.exec(
      readText(`${folder}/memory.stat`) ?? '',
    )?.[1]
    const usedBytes = Math.max(0, Number(used ?? 0) - Number(cache ?? 0))
    if (strictest === null || limitBytes - usedBytes < strictest.limitBytes - strictest.usedBytes)
      strictest = { limitBytes, usedBytes }
  }
  return strictest
}

/** The process's cgroup and all above it, v2 and v1; inside a container the root shows the container's own limits. */
function cgroupFolders(readText: ReadText, controller: string): string[] {
  const folders: string[] = []
  for (const line of (readText('/proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? []
    if (controllers === undefined || path === undefined) continue
    const isV2 = controllers === ''
    if (!isV2 && !controllers.split(',').includes(controller)) continue
    const root = isV2 ? '/sys/fs/cgroup' : `/sys/fs/cgroup/${controller}`
    for (let at = path; at !== '' && at !== '/'; at = at.slice(0, at.lastIndexOf('/'))) {
      folders.push(`${root}${at}`)
    }
    folders.push(root)
  }
  return folders
}

/** `0-3,8` → [0, 1, 2, 3, 8] */
function parseCpuList(text: string): number[] {
  return text.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number)
    if (first === undefined || last === undefined || !(last >= first)) return []
    return Array.from({ length: last - first + 1 }, (_, i) => first + i)
  })
}

function kibibytes(meminfo: string, key: string): number | undefined {
  const match = new RegExp(`^${key}:\\s*(\\d+) kB`, 'm').exec(meminfo)
  return match === null ? undefined : Number(match[1]) * 1024
}

function readTextFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // Absent or not for us: then it sets no limit that could be known.
    return undefined
  }
}

import { describe, expect, it } from 'vitest'
import { detectHardware, type NodeView } from '../../../src/config/hardware.ts'

const GIBIBYTE = 2 ** 30
const node: NodeView = {
  availableParallelism: 8,
  totalMemoryBytes: 32 * GIBIBYTE,
  freeMemoryBytes: 10 * GIBIBYTE,
}

function hardwareOf(files: Record<string, string>) {
  return detectHardware((path) => files[path], node)
}

/** CPUs 0–3 on two cores with two threads each. */
const twoCores: Record<string, string> = {
  '/proc/self/status': 'Name:\tnode\nCpus_allowed_list:\t0-3\n',
  '/sys/devices/system/cpu/cpu0/topology/core_cpus_list': '0,2\n',
  '/sys/devices/system/cpu/cpu1/topology/core_cpus_list': '1,3\n',
  '/sys/devices/system/cpu/cpu2/topology/core_cpus_list': '0,2\n',
  '/sys/devices/system/cpu/cpu3/topology/core_cpus_list': '1,3\n',
}

describe('detectHardware', () => {
  it('counts cores, not their threads', () => {
    expect(hardwareOf(twoCores)).toMatchObject({
      numPhysicalCores: 2,
      coresReason: '2 physical cores among the 4 CPUs that the process may use',
    })
  })

  it('counts only cores that the affinity mask allows', () => {
    const files = { ...twoCores, '/proc/self/status': 'Cpus_allowed_list:\t0,2\n' }
    expect(hardwareOf(files).numPhysicalCores).toBe(1)
  })

  it('obeys the strictest cgroup quota on the way to the root, rounded down but never to none', () => {
    const files = {
      ...twoCores,
      '/proc/self/cgroup': '0::/pods/a\n',
      '/sys/fs/cgroup/pods/cpu.max': '150000 100000\n',
      '/sys/fs/cgroup/pods/a/cpu.max': 'max 100000\n',
    }
    expect(hardwareOf(files).numPhysicalCores).toBe(1)
    const tight = { ...files, '/sys/fs/cgroup/pods/a/cpu.max': '50000 100000\n' }
    expect(hardwareOf(tight)).toMatchObject({
      numPhysicalCores: 1,
      coresReason: expect.stringContaining('cgroup quota of 0.5 CPUs'),
    })
  })

  it('reads version 1 of cgroups', () => {
    const files = {
      ...twoCores,
      '/proc/self/cgroup': '4:memory:/c\n3:cpu,cpuacct:/c\n',
      '/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us': '100000',
      '/sys/fs/cgroup/cpu/c/cpu.cfs_period_us': '100000',
      '/sys/fs/cgroup/memory/c/memory.limit_in_bytes': String(2 * GIBIBYTE),
      '/sys/fs/cgroup/memory/c/memory.usage_in_bytes': String(GIBIBYTE / 2),
    }
    const { numPhysicalCores, freeMemoryBytes } = hardwareOf(files)
    expect({ numPhysicalCores, freeMemoryBytes }).toEqual({
      numPhysicalCores: 1,
      freeMemoryBytes: 1.5 * GIBIBYTE,
    })
  })

  it('does not count cached files against a cgroup’s memory', () => {
    const files = {
      '/proc/meminfo': `MemTotal: ${32 * 2 ** 20} kB\nMemAvailable: ${20 * 2 ** 20} kB\n`,
      '/proc/self/cgroup': '0::/\n',
      '/sys/fs/cgroup/memory.max': String(4 * GIBIBYTE),
      '/sys/fs/cgroup/memory.current': String(3 * GIBIBYTE),
      '/sys/fs/cgroup/memory.stat': `anon 1\ninactive_file ${2 * GIBIBYTE}\n`,
    }
    expect(hardwareOf(files)).toMatchObject({
      totalMemoryBytes: 4 * GIBIBYTE,
      freeMemoryBytes: 3 * GIBIBYTE,
      memoryReason: 'memory left under the cgroup limit',
    })
  })

  it('falls back to what Node knows on other systems', () => {
    expect(hardwareOf({})).toEqual({
      numPhysicalCores: 8,
      coresReason: '8 CPUs that the process may use',
      totalMemoryBytes: 32 * GIBIBYTE,
      freeMemoryBytes: 10 * GIBIBYTE,
      memoryReason: 'free memory',
    })
  })
})

/** What endpoints are placed on, as the administration tells it. Asks the native addon for its kernels. */

import { loadNative } from '../../native/loader.ts'
import type { LoadedConfig } from '../config/load-config.ts'
import type { MachineFacts } from '../server/administration.ts'

export function machineFacts({ hardware }: Pick<LoadedConfig, 'hardware'>): MachineFacts {
  const { numPhysicalCores: numCores, totalMemoryBytes: memoryBytes } = hardware
  return { numCores, memoryBytes, kernels: loadNative().capabilities().kernels }
}

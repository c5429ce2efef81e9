/**
 * What routes for administrators work with, and the gate before them. Who is let in is decided by
 * `accounts/admin-access.ts`; this knows requests. Owns the `administrator` of each admitted request.
 */

import type { FastifyRequest } from 'fastify'
import { admitAdmin } from '../accounts/admin-access.ts'
import type { AdapterAdmin } from '../deployment/adapters/adapter-admin.ts'
import type { DeclarationDefaults } from '../deployment/endpoints/endpoint-file.ts'
import type { EndpointsAdmin } from '../deployment/endpoints/endpoints-admin.ts'
import type { StepTraces } from '../deployment/step-traces.ts'

export interface Administration {
  readonly endpoints: EndpointsAdmin
  readonly adapters: AdapterAdmin
  readonly machine: MachineFacts
  /** What the configuration says where a declaration does not. */
  readonly defaults: DeclarationDefaults
  /** Of the engines; absent where there are none to trace. */
  readonly traces?: StepTraces
  /** Wall-clock time, milliseconds since 1970. */
  nowMs(): number
}

/** What endpoints are placed on. */
export interface MachineFacts {
  readonly numCores: number
  readonly memoryBytes: number
  /** Instruction sets of the chosen kernels, such as `avx512-vnni`. */
  readonly kernels: string
}

/** A hook that refuses whoever may not administer, before the body is read. */
export function adminOnly(adminToken: string | null): (request: FastifyRequest) => Promise<void> {
  return async (request) => {
    const { headers, socket } = request
    request.principal = admitAdmin({ remoteAddress: socket.remoteAddress, headers }, adminToken)
  }
}

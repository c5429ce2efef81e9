/**
 * The state of all endpoints in one word. Pure.
 *
 *   ok         whatever must be up is up; cold endpoints come when they are asked for
 *   starting   nothing that must be up is up yet, and it is on its way
 *   degraded   something answers, and something that should does not
 *   down       nothing answers, and nothing is on its way
 */

import type { HealthStatus } from '../deployments.ts'

export interface EndpointHealth {
  /** It answers, at once or after a cold start. */
  readonly isServing: boolean
  readonly isStarting: boolean
  /** It runs fewer replicas than it should. */
  readonly isShort: boolean
}

export interface EndpointCondition extends EndpointHealth {
  /** It will not come by itself. */
  readonly isFailed: boolean
}

/** @param endpoints - those that are not stopped */
export function poolHealth(endpoints: readonly EndpointHealth[]): HealthStatus {
  const isWell = ({ isServing, isShort }: EndpointHealth): boolean => isServing && !isShort
  if (endpoints.every(isWell)) return 'ok'
  if (endpoints.some(({ isServing }) => isServing)) return 'degraded'
  return endpoints.some(({ isStarting }) => isStarting) ? 'starting' : 'down'
}

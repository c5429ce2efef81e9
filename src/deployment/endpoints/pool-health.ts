/**
 * The state of all endpoints in one word, with what is wrong. Pure.
 *
 *   ok         whatever must be up is up; cold endpoints come when they are asked for
 *   starting   nothing that must be up is up yet, and it is on its way
 *   degraded   something answers, and something that should does not
 *   down       nothing answers, and nothing is on its way
 */

import type { HealthReport, HealthStatus, ReplicaHealth } from '../deployments.ts'

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

interface Reported {
  readonly name: string
  readonly isStopped: boolean
  condition(): EndpointCondition
  health(): readonly ReplicaHealth[]
}

/** Without where weights come from: anybody may read it. */
export function healthReport(endpoints: readonly Reported[]): HealthReport {
  const wanted = endpoints.filter(({ isStopped }) => !isStopped)
  const failed = wanted.filter((one) => one.condition().isFailed && one.health().length === 0)
  return {
    status: poolHealth(wanted.map((endpoint) => endpoint.condition())),
    reasons: failed.map(
      ({ name }) => `${name}: it cannot be loaded; /v1/status tells an administrator why`,
    ),
    replicas: endpoints.flatMap((endpoint) => endpoint.health()),
  }
}

/** @param endpoints - those that are not stopped */
export function poolHealth(endpoints: readonly EndpointHealth[]): HealthStatus {
  const isWell = ({ isServing, isShort }: EndpointHealth): boolean => isServing && !isShort
  if (endpoints.every(isWell)) return 'ok'
  if (endpoints.some(({ isServing }) => isServing)) return 'degraded'
  return endpoints.some(({ isStarting }) => isStarting) ? 'starting' : 'down'
}

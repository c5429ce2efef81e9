/** What `GET /v1/status` and its relatives show: everything that is known, under our own names. Owns nothing. */

import type {
  CatalogChange,
  EndpointStatus,
  PoolStatus,
  VariantProfile,
} from '../../../deployment/endpoints/endpoints-admin.ts'
import { replicaView } from '../../replica-view.ts'
import { snakeCase } from '../../snake-case.ts'

export function poolView({ endpoints, ...memory }: PoolStatus): object {
  return {
    object: 'status',
    ...(snakeCase(memory) as object),
    endpoints: endpoints.map(statusView),
  }
}

export function statusView({ replicas, ...status }: EndpointStatus): object {
  return {
    object: 'endpoint.status',
    ...(snakeCase(status) as object),
    replicas: replicas.map(replicaView),
  }
}

export function profileView(profile: VariantProfile): object {
  return { object: 'profile', ...(snakeCase(profile) as object) }
}

export function changeView(change: CatalogChange): object {
  return { object: 'change', ...(snakeCase(change) as object) }
}

export function listOf(data: readonly object[]): object {
  return { object: 'list', data }
}

/** `GET /openapi.json`, made from the routes' own schemas by @fastify/swagger. Owns nothing. */

import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'

/** To be called before the routes are added: the plugin watches them come. */
export function installOpenApi(app: FastifyInstance, version: string): void {
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Ingot',
        version,
        description:
          'Models served from a machine of yours. The /v1 routes follow the OpenAI API; a parameter that is not listed is refused by name, never ignored.',
      },
      tags: [
        { name: 'generation', description: 'Answers from a model' },
        { name: 'models', description: 'What is served' },
        {
          name: 'endpoints',
          description:
            'Endpoints in the shapes of Together’s API. For the server’s administrators: with the admin token, or without one from the same machine.',
        },
        {
          name: 'administration',
          description: 'Loading, memory, aliases, configuration; for administrators as well',
        },
        { name: 'operations', description: 'For whoever runs the server' },
      ],
    },
  })
  app.register((scope, _options, done) => {
    scope.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
    done()
  })
}

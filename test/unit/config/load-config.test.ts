import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { loadConfig, rereadFile } from '../../../src/config/load-config.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ingot-config-'))
  path = join(folder, 'ingot.yaml')
  vi.stubEnv('INGOT_CONFIG', '')
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

const load = (configFile?: string) => loadConfig({ configFile, flags: {} })

describe('the file', () => {
  it('comes from --config or INGOT_CONFIG, and is handed on as it was read', () => {
    expect(load().file).toBeNull()
    writeFileSync(path, 'server: {port: 81}\nendpoints: {a: {model: m}}\n')
    expect(load(path)).toMatchObject({ config: { server: { port: 81 } }, file: { path } })
    vi.stubEnv('INGOT_CONFIG', path)
    expect(load().file?.root.entries.map(({ key }) => key)).toEqual(['server', 'endpoints'])
  })

  it('that cannot be read is told with what named it', () => {
    expect(() => load(join(folder, 'none.yaml'))).toThrow(
      expect.objectContaining({ code: 'CONFIG_FILE_UNREADABLE', param: '--config' }),
    )
    vi.stubEnv('INGOT_CONFIG', folder)
    expect(() => load()).toThrow(
      expect.objectContaining({ code: 'CONFIG_FILE_UNREADABLE', param: 'INGOT_CONFIG' }),
    )
  })
})

describe('read again while the server runs', () => {
  it('it may declare otherwise, and its settings may not change', () => {
    writeFileSync(path, 'server: {port: 81}\n')
    const loaded = load(path)
    writeFileSync(path, '# moved\nendpoints: {a: {model: m}}\nserver:\n  port: 81\n')
    expect(rereadFile(loaded, path)?.root.entries.map(({ key }) => key)).toEqual([
      'endpoints',
      'server',
    ])
    writeFileSync(path, 'server: {port: 82}\nlog: {level: debug}\n')
    expect(() => rereadFile(loaded, path)).toThrow(
      expect.objectContaining({
        code: 'CONFIG_NEEDS_RESTART',
        message: `${path}: nothing was applied, because the settings server.port, log.level have changed, and settings are read at a start alone; restart the server, or set them back`,
      }),
    )
    writeFileSync(path, 'sever: {}\n')
    expect(() => rereadFile(loaded, path)).toThrow('did you mean "server"?')
  })
})

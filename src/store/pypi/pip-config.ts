/**
 * Where pip would look for packages, read the way pip reads it.
 *
 * Order, later wins: /etc/xdg/pip/pip.conf, /etc/pip.conf, ~/.pip/pip.conf, ~/.config/pip/pip.conf, $VIRTUAL_ENV/pip.conf,
 * $PIP_CONFIG_FILE, then PIP_* variables. `PIP_CONFIG_FILE=/dev/null` switches all files off. Sections: `global`, then
 * `install`. Reads nothing by itself: environment and file reader are handed in.
 * Source: pip documentation, topics/configuration.
 */

export interface PipConfig {
  /** As written. Asked in this order; the first that has the project answers. */
  readonly indexUrls: readonly string[]
  /** Set when pip must not use any index. */
  readonly noIndex: boolean
  /** PEM file that is trusted besides the usual authorities. */
  readonly certificateFile: string | null
  readonly proxy: string | null
  /** Hosts that may be reached over plain http. */
  readonly trustedHosts: readonly string[]
}

export const DEFAULT_INDEX_URL = 'https://pypi.org/simple/'

type Environment = Readonly<Record<string, string | undefined>>
/** Text of a file, or `undefined` when there is none that can be read. */
export type ReadTextFile = (path: string) => string | undefined

const KEYS = ['index-url', 'extra-index-url', 'no-index', 'cert', 'proxy', 'trusted-host'] as const
type Key = (typeof KEYS)[number]
type Settings = Partial<Record<Key, string>>

/**
 * @param env - the process's variables; only PIP_*, HOME, XDG_CONFIG_HOME and VIRTUAL_ENV are looked at
 */
export function readPipConfig(env: Environment, readFile: ReadTextFile): PipConfig {
  const settings: Settings = {}
  for (const path of configFiles(env)) {
    const text = readFile(path)
    if (text !== undefined) Object.assign(settings, parseSettings(text))
  }
  for (const key of KEYS) {
    const value = env[`PIP_${key.toUpperCase().replaceAll('-', '_')}`]
    if (value !== undefined && value !== '') settings[key] = value
  }
  const index = settings['index-url']?.trim() || DEFAULT_INDEX_URL
  const indexUrls = [index, ...words(settings['extra-index-url'])]
  return {
    indexUrls,
    noIndex: /^(?:1|y|yes|t|true|on)$/i.test(settings['no-index']?.trim() ?? ''),
    certificateFile: settings.cert?.trim() || null,
    proxy: settings.proxy?.trim() || null,
    trustedHosts: words(settings['trusted-host']),
  }
}

function configFiles(env: Environment): string[] {
  const named = env.PIP_CONFIG_FILE
  if (named === '/dev/null') return []
  const files = ['/etc/xdg/pip/pip.conf', '/etc/pip.conf']
  const home = env.HOME
  if (home !== undefined && home !== '') {
    files.push(`${home}/.pip/pip.conf`, `${home}/Library/Application Support/pip/pip.conf`)
  }
  const settingsHome = env.XDG_CONFIG_HOME || (home ? `${home}/.config` : '')
  if (settingsHome !== '') files.push(`${settingsHome}/pip/pip.conf`)
  if (env.VIRTUAL_ENV) files.push(`${env.VIRTUAL_ENV}/pip.conf`)
  if (named !== undefined && named !== '') files.push(named)
  return files
}

/** An INI file as Python's configparser reads it: `key = value` or `key: value`, indented lines go on. */
function parseSettings(text: string): Settings {
  const sections: Record<string, Settings> = { global: {}, install: {} }
  let section: Settings | undefined
  let key: Key | undefined
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*(?:[#;]|$)/.test(line)) continue
    const heading = /^\[(.+)\]\s*$/.exec(line)
    if (heading !== null) {
      section = sections[heading[1] as string]
      key = undefined
      continue
    }
    if (/^\s/.test(line)) {
      if (section !== undefined && key !== undefined) section[key] += `\n${line.trim()}`
      continue
    }
    const entry = /^([^=:\s]+)\s*[=:]\s*(.*)$/.exec(line)
    const name = entry?.[1]?.toLowerCase().replaceAll('_', '-')
    key = KEYS.find((known) => known === name)
    if (section !== undefined && key !== undefined) section[key] = entry?.[2]?.trim() ?? ''
  }
  return { ...sections.global, ...sections.install }
}

function words(text: string | undefined): string[] {
  return (text ?? '').split(/\s+/).filter((word) => word !== '')
}

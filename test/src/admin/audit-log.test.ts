import { mkdtempSync, readFileSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { keepAuditLog } from '../../../src/admin/audit-log.ts'
import { Gate } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

describe('the audit log', () => {
  it('holds every change, one line each, behind those of earlier runs', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'topicgate-audit-')), 'audit.jsonl')
    for (const who of ['ann', 'bob']) {
      const gate = new Gate({ clock: new FakeClock(0) })
      const log = keepAuditLog(gate, path)
      await gate.bans.add({ apiKey: 'secret', reason: 'leaked', addedBy: who, for: '1h' })
      await log.close()
      await gate.bans.add({ client: 'later', reason: 'not told' })
      await gate.close()
    }
    const text = readFileSync(path, 'utf8')
    const lines = text
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line) as object)
    const at = '1970-01-01T00:00:00.000Z'
    expect(lines).toMatchObject([
      { at, kind: 'ban', action: 'added', by: 'ann', reason: 'leaked', note: { expiresAtMs: 3_600_000 } },
      { at, kind: 'ban', action: 'added', by: 'bob', reason: 'leaked' },
    ])
    expect(lines).toHaveLength(2)
    expect(text).not.toContain('"secret"')
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('tells the logger where it cannot be written, and harms nothing', async () => {
    const told: object[] = []
    const silent = (): void => {}
    const logger = {
      debug: silent,
      info: silent,
      warn: silent,
      error: (context: object) => told.push(context),
    }
    const gate = new Gate({ clock: new FakeClock(0), logger })
    const log = keepAuditLog(gate, '/nowhere/at/all/audit.jsonl')
    await gate.bans.add({ client: 'c', reason: 'x' })
    await log.close()
    expect(told).toHaveLength(1)
    expect(gate.bans.list()).toHaveLength(1)
  })
})

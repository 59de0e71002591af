import { appendFileSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type AuditRecord, keepAuditLog } from '../../../src/admin/audit-log.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
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

  it('lists the changes of earlier runs, also if the last one was killed while it wrote', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'topicgate-audit-')), 'audit.jsonl')
    const run = async (...clients: readonly string[]): Promise<readonly string[]> => {
      const gate = new Gate({ clock: new FakeClock(0) })
      const log = keepAuditLog(gate, path)
      for (const client of clients) await gate.bans.add({ client, reason: 'x' })
      await log.close()
      await gate.close()
      return log.list({ limit: 10 }).map(({ seq, id }) => `${seq} ${id}`)
    }
    await run('a', 'b')
    appendFileSync(path, '{"seq":3,"at')
    expect(await run()).toEqual(['2 client:b', '1 client:a'])
    expect(await run('c')).toEqual(['3 client:c', '2 client:b', '1 client:a'])
    expect(await run()).toEqual(['3 client:c', '2 client:b', '1 client:a'])
  })

  it('reads the end of a large file only, and keeps a bounded number of records', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'topicgate-audit-')), 'audit.jsonl')
    const line = (seq: number, note: string): string => `${JSON.stringify({ seq, atMs: 0, id: 'x', note })}\n`
    writeFileSync(path, line(1, 'first'.repeat(MAX_SIZES.auditReadBytes / 4)))
    for (let seq = 2; seq <= MAX_SIZES.auditRecords + 5; seq++) appendFileSync(path, line(seq, 'y'))
    const gate = new Gate({ clock: new FakeClock(0) })
    const log = keepAuditLog(gate, path)
    const records = log.list({ limit: Infinity })
    expect(records).toHaveLength(MAX_SIZES.auditRecords)
    expect([records[0]?.seq, records.at(-1)?.seq]).toEqual([MAX_SIZES.auditRecords + 5, 6])
    await log.close()
    await gate.close()
  })

  it('keeps large entries in the file, and their size in memory and for listeners', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'topicgate-audit-')), 'audit.jsonl')
    const gate = new Gate({ clock: new FakeClock(0) })
    const log = keepAuditLog(gate, path)
    const sent: AuditRecord[] = []
    log.watch(record => sent.push(record))
    const topics = Array.from({ length: MAX_SIZES.auditStateChars / 8 }, (_, index) => `topics/${index}`)
    await gate.exemptions.add({ name: 'e', topics, reason: 'x' })
    await log.written()
    const [written] = readFileSync(path, 'utf8').split('\n')
    expect((JSON.parse(written!) as { note: object }).note).toMatchObject({ topics })
    const { omittedChars } = sent[0]!.note as { readonly omittedChars: number }
    expect(omittedChars).toBeGreaterThan(MAX_SIZES.auditStateChars)
    expect(log.list({ limit: 1 })).toMatchObject([{ id: 'e', note: { omittedChars } }])
    const many = Array.from({ length: MAX_SIZES.runtimeEntryChars / 8 }, (_, index) => `topics/${index}`)
    await expect(gate.exemptions.add({ name: 'f', topics: many, reason: 'x' })).rejects.toThrow(/characters/)
    expect(gate.exemptions.list().map(({ name }) => name)).toEqual(['e'])
    await log.close()
    await gate.close()
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

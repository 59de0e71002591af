export type {
  CompiledPolicy,
  CompiledRuleOptions,
  LoadedPolicy,
  MiddlewareEntry,
} from './compiled-policy-types.ts'
export { convertToJsonSchema } from './convert-to-json-schema.ts'
export { type FileFormat, type LoadedDocument, loadDocument } from './load-document.ts'
export { loadPolicy, type PolicyInput } from './load-policy.ts'
export { hasHiddenSecret, redact, restoreSecrets } from './redact.ts'
export { type PolicyDocument, policyJsonSchema } from './schema.ts'
export { encodeSchemaError } from './schema-primitives.ts'
export { findPolicyWarnings } from './warnings.ts'
export { type PolicyWatch, type WatchOptions, watchPolicy } from './watch-policy.ts'

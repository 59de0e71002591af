/** Fleets included in the package, each as config/fleets/NAME.yaml. */
export const READY_FLEETS: readonly string[] = [
  'fleet',
  'flood',
  'reconnect-storm',
  'flapping',
  'slowloris',
  'quota-month-end',
  'demo',
]

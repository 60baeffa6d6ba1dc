import type { Shape } from './fields.js';

/** Feodo Tracker: botnet C2 servers. Only those that answer are taken: addresses get new, innocent owners. */
export const FEODO: Shape = {
  values: [{ names: ['dst_ip', 'ip_address'], kind: 'address' }],
  roles: {
    status: ['c2_status', 'status'],
    port: ['dst_port', 'port'],
    firstSeen: ['first_seen_utc', 'first_seen'],
    lastSeen: ['last_online'],
    threat: ['malware'],
  },
  needs: ['status', 'threat', 'lastSeen'],
  status: 'online',
};

/** URLhaus: URLs that spread malware, offline ones too: they come back. */
export const URLHAUS: Shape = {
  values: [{ names: ['url'], kind: 'url' }],
  roles: {
    status: ['url_status'],
    firstSeen: ['dateadded', 'date_added'],
    lastSeen: ['last_online'],
    threat: ['tags', 'threat'],
  },
  needs: ['status', 'firstSeen'],
};

/** ThreatFox: indicators of all types. */
export const THREATFOX: Shape = {
  values: [{ names: ['ioc_value', 'ioc'], kind: 'typed' }],
  roles: {
    type: ['ioc_type'],
    firstSeen: ['first_seen_utc', 'first_seen'],
    lastSeen: ['last_seen_utc', 'last_seen'],
    confidence: ['confidence_level'],
    threat: ['malware_printable', 'malware', 'fk_malware', 'threat_type'],
  },
  needs: ['type', 'confidence'],
};

/** SSLBL certificates: SHA-1 of a certificate, as it stands in a file of its DER encoding. */
export const SSLBL_SHA1: Shape = {
  values: [{ names: ['sha1'], kind: 'hash' }],
  roles: { firstSeen: ['listingdate', 'date'], threat: ['listingreason', 'reason'] },
  needs: ['firstSeen', 'threat'],
};

/** SSLBL addresses of C2 servers. */
export const SSLBL_IP: Shape = {
  values: [{ names: ['dstip', 'dst_ip', 'ip'], kind: 'address' }],
  roles: { firstSeen: ['firstseen', 'date'], port: ['dstport', 'dst_port', 'port'] },
  needs: ['firstSeen', 'port'],
};

/** Any table or list of records whose columns or keys have usual names. */
export const GENERIC: Shape = {
  values: [
    { names: ['indicator', 'ioc', 'ioc_value', 'indicator_value', 'value', 'observable'], kind: 'typed' },
    { names: ['url', 'uri'], kind: 'url' },
    { names: ['domain', 'domain_name', 'hostname', 'fqdn', 'host'], kind: 'domain' },
    {
      names: [
        'ip',
        'ip_address',
        'ipaddress',
        'ipv4',
        'ipv6',
        'dst_ip',
        'dstip',
        'src_ip',
        'address',
        'cidr',
        'network',
        'netblock',
        'prefix',
      ],
      kind: 'address',
    },
    { names: ['sha512', 'sha512_hash'], kind: 'hash' },
    { names: ['sha256', 'sha256_hash', 'hash', 'file_hash'], kind: 'hash' },
    { names: ['sha1', 'sha1_hash'], kind: 'hash' },
    { names: ['md5', 'md5_hash'], kind: 'hash' },
  ],
  roles: {
    type: ['type', 'ioc_type', 'indicator_type'],
    port: ['port', 'dst_port', 'dstport'],
    firstSeen: [
      'first_seen',
      'firstseen',
      'first_seen_utc',
      'date',
      'dateadded',
      'date_added',
      'created',
      'timestamp',
    ],
    lastSeen: ['last_seen', 'lastseen', 'last_seen_utc', 'last_online', 'updated', 'modified'],
    confidence: ['confidence', 'confidence_level', 'score'],
    threat: [
      'threat',
      'malware',
      'malware_family',
      'family',
      'malware_printable',
      'threat_type',
      'category',
      'tags',
      'description',
    ],
  },
  needs: [],
};

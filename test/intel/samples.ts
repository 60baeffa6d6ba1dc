import type { FormatName } from '../../src/intel/formats/format.js';

/** 2026-09-01, in seconds. */
export const NOW = Date.UTC(2026, 8, 1) / 1000;
export const MD5 = '9b1d3f5a7c8e0246813579bdf02468ac';
export const SHA1 = '0f1e2d3c4b5a69788796a5b4c3d2e1f001234567';
export const SHA256 = '5f2b7c1de8a94036b1c7d2e0f4a8935c6e7d1b20a9f3c4e5d6b7a8091c2d3e4f';

/** Small invented feeds in every format: what has to be read from them, named, or known by their content. */
export interface FeedSample {
  readonly format: FormatName;
  readonly title: string;
  readonly text: string;
  readonly values: readonly string[];
  readonly rejected?: number;
  readonly skipped?: number;
  readonly problem?: RegExp;
}

const attribute = (type: string, value: string, more: object = {}): object => ({
  type,
  value,
  to_ids: true,
  ...more,
});

export const SAMPLES: readonly FeedSample[] = [
  {
    format: 'feodo-json',
    title: 'only servers that answer; null fields',
    text: JSON.stringify([
      {
        ip_address: '198.51.100.7',
        port: 443,
        status: 'online',
        hostname: null,
        first_seen: '2026-08-01 10:00:00',
        last_online: '2026-08-30',
        malware: 'Emotet',
      },
      {
        ip_address: '198.51.100.8',
        port: 443,
        status: 'offline',
        hostname: null,
        last_online: null,
        malware: 'Emotet',
      },
    ]),
    values: ['ipv4:198.51.100.7#443'],
    skipped: 1,
  },
  {
    format: 'feodo-csv',
    title: 'comments before the header',
    text: '#\n# a list, of servers\n#\n"first_seen_utc","dst_ip","dst_port","c2_status","last_online","malware"\n"2026-08-01 10:00:00","198.51.100.7","443","online","2026-08-30","Emotet"\n"2026-08-01 10:00:00","198.51.100.8","443","offline","","Emotet"\n# END 2 entries\n',
    values: ['ipv4:198.51.100.7#443'],
    skipped: 1,
  },
  {
    format: 'urlhaus-json',
    title: 'values are arrays; tags and times may be null',
    text: JSON.stringify({
      '17': [
        {
          dateadded: '2026-08-01 10:00:00 UTC',
          url: 'http://evil.example/a.sh',
          url_status: 'online',
          last_online: null,
          threat: 'malware_download',
          tags: null,
        },
      ],
      '18': [
        {
          dateadded: '2026-08-01 10:00:00 UTC',
          url: 'http://198.51.100.7:8080/b',
          url_status: 'offline',
          last_online: '2026-08-02 10:00:00 UTC',
          threat: 'malware_download',
          tags: ['elf'],
        },
      ],
    }),
    values: ['url:evil.example/a.sh', 'url:198.51.100.7:8080/b'],
  },
  {
    format: 'urlhaus-csv',
    title: 'header in a comment, commas in tags',
    text: '################\n# URLs, all of them\n# id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter\n"18","2026-08-01 10:00:00","https://evil.example/a,b?c=1","online","","malware_download","elf,mirai","https://urlhaus.example/18/","x"\n',
    values: ['url:evil.example/a,b?c=1'],
  },
  {
    format: 'threatfox-json',
    title: 'all types; hashes by their length; what is no indicator here is left out',
    text: JSON.stringify({
      '1': [
        { ioc_value: '198.51.100.7:443', ioc_type: 'ip:port', confidence_level: 75, malware_printable: 'X' },
      ],
      '2': [{ ioc_value: SHA256, ioc_type: 'md5_hash', confidence_level: 50 }],
      '3': [{ ioc_value: 'a@evil.example', ioc_type: 'envelope_from', confidence_level: 50 }],
      '4': [{ ioc_value: '198.51.100.8', ioc_type: 'domain', confidence_level: 50 }],
    }),
    values: ['ipv4:198.51.100.7#443', `hash:${SHA256}`],
    skipped: 1,
    rejected: 1,
    problem: /at \/4\/0: "198\.51\.100\.8" is no domain/,
  },
  {
    format: 'threatfox-csv',
    title: 'comma and space, "None", IPv6 with a port',
    text: '# x\n# "first_seen_utc","ioc_id","ioc_value","ioc_type","malware","confidence_level","reference"\n"2026-08-01 10:00:00", "1", "[2001:db8::7]:80", "ip:port", "elf.x", "75", "None"\n"2026-08-01 10:00:00", "2", "evil.example", "domain", "None", "50", "a, b"\n',
    values: ['ipv6:2001:db8::7#80', 'domain:evil.example'],
  },
  {
    format: 'sslbl-sha1',
    title: 'certificates',
    text: `# Listingdate,SHA1,Listingreason\n2026-08-01 10:00:00,${SHA1},Example C&C\n`,
    values: [`hash:${SHA1}`],
  },
  {
    format: 'sslbl-ip',
    title: 'addresses',
    text: '# Firstseen,DstIP,DstPort\n2026-08-01 10:00:00,198.51.100.7,443\n',
    values: ['ipv4:198.51.100.7#443'],
  },
  {
    format: 'drop-json',
    title: 'the object that is no network',
    text: '{"cidr":"198.51.100.0/24","sblid":"SBL1","rir":"x"}\n{"cidr":"2001:db8::/32","sblid":"SBL2","rir":"x"}\n{"type":"metadata","timestamp":1785578400,"records":2}\n',
    values: ['ipv4:198.51.100.0/24', 'ipv6:2001:db8::/32'],
  },
  {
    format: 'drop-text',
    title: 'comments with a semicolon',
    text: '; Networks\n; 2026\n198.51.100.0/24 ; SBL256893\n',
    values: ['ipv4:198.51.100.0/24'],
  },
  {
    format: 'dshield',
    title: 'tabs; ends that do not agree',
    text: '# a list\nStart\tEnd\tNetblock\tAttacks\n198.51.100.0\t198.51.100.255\t24\t100\tX\n198.51.100.0\t198.51.100.255\t16\t100\tX\n',
    values: ['ipv4:198.51.100.0/24'],
    rejected: 1,
    problem: /line 4: /,
  },
  {
    format: 'list',
    title: 'anything, one a line',
    text: `# comment\n198.51.100.7\n198.51.100.7:443\n198.51.100.0/25 # why\n198.51.100.128-198.51.100.130\n[2001:db8::1]:80\n2001:db8::/64\n::ffff:198.51.100.9\n\nEvil.Example.\nc2.evil.example:8443\nhttp://evil.example/a#b\n${MD5}\nhxxp://c2[.]example/x\n198.51.100.10\t17\n; other comment\n// another\n`,
    values: [
      'ipv4:198.51.100.7',
      'ipv4:198.51.100.7#443',
      'ipv4:198.51.100.0/25',
      'ipv4:198.51.100.128/31',
      'ipv4:198.51.100.130',
      'ipv6:2001:db8::1#80',
      'ipv6:2001:db8::/64',
      'ipv4:198.51.100.9',
      'domain:evil.example',
      'domain:c2.evil.example#8443',
      'url:evil.example/a',
      `hash:${MD5}`,
      'url:c2.example/x',
      'ipv4:198.51.100.10',
    ],
  },
  {
    format: 'hosts',
    title: 'names of the machine, several names, mappings',
    text: '# hosts\n127.0.0.1 localhost\n::1 localhost ip6-localhost\n0.0.0.0 0.0.0.0\n127.0.0.1\tevil.example\n0.0.0.0 a.example b.example # two\n0.0.0.0 c.example\n0.0.0.0 d.example\n198.51.100.7 build.example\n',
    values: [
      'domain:evil.example',
      'domain:a.example',
      'domain:b.example',
      'domain:c.example',
      'domain:d.example',
    ],
    skipped: 5,
  },
  {
    format: 'adblock',
    title: 'exceptions wherever they stand; rules for parts of pages',
    text: '[Adblock Plus 2.0]\n! Title: x\n||evil.example^\n||fine.example^\n||a.fine.example^\n||c2.example^$important,third-party\n||ads.example^$script,domain=x.example\n||x.example/path^\nexample.org##.banner\n@@||fine.example^\n@@||www.evil.example^\n',
    values: ['domain:evil.example', 'domain:c2.example'],
    skipped: 5,
    problem: /line 3: the exception for "www\.evil\.example" is lost/,
  },
  {
    format: 'rpz',
    title: 'wildcards, addresses, exceptions, other answers, a zone in full',
    text: '$TTL 300\n@ IN SOA ns.rpz.example. host.rpz.example. (\n  1 3600 600\n  86400 60 )\n  IN NS localhost.\n$ORIGIN rpz.example.\nevil.example CNAME . ; why\n*.evil.example CNAME .\nc2.example.rpz.example. 300 IN CNAME *.\n24.0.100.51.198.rpz-ip CNAME .\n48.zz.db8.2001.rpz-ip CNAME rpz-drop.\nfine.example CNAME rpz-passthru.\nsearch.example CNAME safe.search.example.\n32.1.100.51.198.rpz-client-ip CNAME .\nsink.example A 127.0.0.1\n',
    values: [
      'domain:evil.example',
      'domain:evil.example',
      'domain:c2.example',
      'ipv4:198.51.100.0/24',
      'ipv6:2001:db8::/48',
    ],
    skipped: 5,
  },
  {
    format: 'misp',
    title: 'only to_ids, not deleted; composite types; objects',
    text: JSON.stringify({
      Event: {
        info: 'Dockside',
        Tag: [{ name: 'tlp:clear' }, { name: 'misp-galaxy:malpedia="XMRig"' }],
        Attribute: [
          attribute('ip-dst', '198.51.100.7'),
          attribute('ip-dst', '198.51.100.8', { to_ids: false }),
          attribute('ip-dst', '198.51.100.9', { deleted: true }),
          attribute('ip-dst|port', '198.51.100.10|443'),
          attribute('domain|ip', 'evil.example|198.51.100.11'),
          attribute('filename|sha256', `a|b.sh|${SHA256}`),
          attribute('malware-sample', `a|${MD5}`),
          attribute('imphash', MD5),
          attribute('url', 'not a url'),
        ],
        Object: [
          { name: 'file', Attribute: [attribute('sha1', SHA1)] },
          { name: 'file', deleted: true, Attribute: [attribute('domain', 'gone.example')] },
        ],
      },
    }),
    values: [
      'ipv4:198.51.100.7',
      'ipv4:198.51.100.10#443',
      'domain:evil.example',
      'ipv4:198.51.100.11',
      `hash:${SHA256}`,
      `hash:${MD5}`,
      `hash:${SHA1}`,
    ],
    skipped: 3,
    rejected: 1,
    problem: /at \/Event\/Attribute\/8: /,
  },
  {
    format: 'stix',
    title: 'pages of a collection, one after another; objects that are no indicators',
    text: `${JSON.stringify({
      more: true,
      objects: [
        { type: 'identity', id: 'identity--1' },
        { type: 'ipv4-addr', id: 'ipv4-addr--1', value: '198.51.100.1' },
        {
          type: 'indicator',
          id: 'indicator--1',
          pattern_type: 'stix',
          pattern: "[ipv4-addr:value = '198.51.100.7']",
          valid_from: '2026-01-01T00:00:00Z',
          modified: '2026-01-01T00:00:00Z',
        },
        {
          type: 'indicator',
          id: 'indicator--2',
          pattern_type: 'stix',
          pattern: "[domain-name:value = 'evil.example'",
          valid_from: '2026-01-01T00:00:00Z',
        },
      ],
    })}\n${JSON.stringify({ objects: [{ type: 'indicator', id: 'indicator--1', revoked: true, modified: '2026-01-02T00:00:00Z' }] })}\n`,
    values: [],
    skipped: 1,
    rejected: 1,
    problem: /at \/objects\/3: the pattern should have "\]" at its end/,
  },
  {
    format: 'iprep',
    title: 'scores that are none',
    text: '198.51.100.7,1,127\n198.51.100.0/24,2,20\n198.51.100.9,2,0\n',
    values: ['ipv4:198.51.100.7', 'ipv4:198.51.100.0/24'],
    rejected: 1,
    problem: /line 3: /,
  },
  {
    format: 'csv',
    title: 'an address beside a domain is not taken, every hash is',
    text: `Domain,IP Address,SHA256,Malware Family\nevil.example,198.51.100.7,${SHA256},X\n,198.51.100.8,,X\n`,
    values: ['domain:evil.example', `hash:${SHA256}`, 'ipv4:198.51.100.8'],
  },
  {
    format: 'csv',
    title: 'a column that names the type; defanged values',
    text: 'indicator,type,description\nevil[.]example,domain,"a, b"\nhxxps://c2[.]example/a,url,x\na@evil.example,email,x\n',
    values: ['domain:evil.example', 'url:c2.example/a'],
    skipped: 1,
  },
  {
    format: 'json',
    title: 'a list under a usual key',
    text: '{"status":"ok","data":[{"IP":"198.51.100.7","lastSeen":"2026-08-01"},{"url":"http://evil.example/a","domain":"evil.example"},{"ip":null}]}',
    values: ['ipv4:198.51.100.7', 'url:evil.example/a'],
    rejected: 1,
    problem: /at \/data\/2: /,
  },
  {
    format: 'json',
    title: 'one record a line',
    text: '{"indicator":"evil.example"}\n{"indicator":"198.51.100.7","__proto__":{"indicator":"x"}}\n',
    values: ['domain:evil.example', 'ipv4:198.51.100.7'],
  },
  {
    format: 'json',
    title: 'a list of texts',
    text: '["198.51.100.7", "evil.example"]',
    values: ['ipv4:198.51.100.7', 'domain:evil.example'],
  },
  {
    format: 'report',
    title: 'a few words and a server',
    text: 'We saw connections to evil[.]example from install.sh.\n',
    values: ['domain:evil.example'],
  },
];

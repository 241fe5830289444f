---@meta
-- What runbooks can write and call: made by warmrun runbook types; changes are lost.

---A length of time with its unit, such as "30s", "5min" or "1h30m".
---@alias duration string

---@class (exact) lsn: userdata
---@operator sub(lsn): number
---@param text string
---@return lsn
function lsn(text) end

---@class (exact) secret: userdata

---@class (exact) nodes: { [integer]: string }
---@field at_once? integer
---@field keep_going? boolean

---@class (exact) step: userdata

---@class (exact) check: userdata

---@class (exact) param: userdata

---@class (exact) runbook: userdata

---@class (exact) extension: userdata

---@class (exact) test: userdata

---@class (exact) case: userdata

---@class (exact) context
---@field name string the runbook's name
---@field params table<string, any> the parameters by their names; one without a value is nil
---@field results table<string, any> what earlier steps have returned, by the names of the steps
---@field outcome? string "done" or "failed", in the steps of finally only
---@field error? string why the run has failed, in the steps of finally only
---@field dr? string the name of the DR node
---@field node string the name of the node that the runbook runs on
---@field partner? string the name of the other node of the pair

---@class (exact) acceptSplitOption
---@field accept_split? boolean

---@class (exact) acceptsOptions
---@field system_identifier? string
---@field segment_size? integer

---@class (exact) adoptOptions
---@field name? string
---@field other? string
---@field dr? string
---@field runbooks? string[]

---@class (exact) backlogResult
---@field ready integer
---@field oldest string
---@field drain string

---@class (exact) backup
---@field file string
---@field at string
---@field label? string
---@field missing? string

---@class (exact) backupIDOption
---@field id? string

---@class (exact) badPage
---@field path string
---@field block integer
---@field stored integer
---@field computed integer
---@field database? string
---@field relation? string

---@class (exact) baseOptions
---@field to? string
---@field fast? boolean
---@field streams? integer
---@field max_rate? integer
---@field compress? string
---@field tablespaces? table<string, string>
---@field allow_bad_pages? boolean
---@field verbose? boolean

---@class (exact) beginBackupOptions
---@field source? string
---@field system_identifier? string
---@field redo? lsn
---@field timeline? integer
---@field segment_size? integer
---@field seed? boolean

---@class (exact) bringBackOptions
---@field partner? string
---@field accept_split? boolean
---@field undo? boolean

---@class (exact) certified
---@field path string
---@field text string

---@class (exact) certifyOptions
---@field old? string
---@field new? string
---@field point? point
---@field proof? proof
---@field cut? cut
---@field timeline? integer
---@field fork? lsn
---@field follows? lsn
---@field old_hash? string
---@field new_hash? string

---@class (exact) chain
---@field first string
---@field last string
---@field ["end"] lsn
---@field segments integer
---@field newest string
---@field gaps gap[]
---@field segment_size integer
---@field timeline integer
---@field fork? lsn
---@field histories integer[]
---@field history? historyEntry[]
---@field want_history? integer

---@class (exact) changedFile
---@field path string
---@field how string

---@class (exact) checkArchiveOptions
---@field source? string

---@class (exact) checkRivalsOptions
---@field accept_split? boolean
---@field nothing_left? boolean
---@field fast? boolean
---@field handover? boolean
---@field stopped? string
---@field hook? boolean
---@field off? string[]
---@field checked? boolean

---@class (exact) completeBackupOptions
---@field id? string
---@field start_lsn? lsn
---@field stop_lsn? lsn
---@field start_segment? string
---@field stop_segment? string
---@field timeline? integer
---@field version? integer
---@field bytes? integer
---@field finished? string

---@class (exact) configureOptions
---@field fence? boolean
---@field clean? boolean

---@class (exact) controlFile
---@field system_identifier string
---@field control_version integer
---@field catalog_version integer
---@field state string
---@field modified_at string
---@field checkpoint lsn
---@field redo lsn
---@field timeline integer
---@field prev_timeline integer
---@field checkpoint_time string
---@field min_recovery_point lsn
---@field min_recovery_timeline integer
---@field backup_start lsn
---@field backup_end lsn
---@field backup_end_required boolean
---@field wal_level string
---@field wal_log_hints boolean
---@field max_connections integer
---@field max_worker_processes integer
---@field max_wal_senders integer
---@field max_prepared_xacts integer
---@field max_locks_per_xact integer
---@field track_commit_timestamp boolean
---@field block_size integer
---@field relation_blocks integer
---@field wal_block_size integer
---@field segment_size integer
---@field checksum_version integer

---@class (exact) copy
---@field id string
---@field dir string
---@field source string
---@field server_version? integer
---@field system_identifier? string
---@field begun string
---@field finished? string
---@field start_lsn lsn
---@field stop_lsn lsn
---@field start_segment? string
---@field stop_segment? string
---@field timeline? integer
---@field bytes? integer
---@field seed? string
---@field verified? string
---@field damaged? string

---@class (exact) copyResult
---@field files integer
---@field dirs integer
---@field transferred integer
---@field deleted integer
---@field literal integer
---@field sent integer
---@field received integer
---@field total_size integer
---@field elapsed number
---@field changed changedFile[]
---@field dry_run boolean

---@class (exact) cronOptions
---@field name? string
---@field line? string

---@class (exact) cronResult
---@field before string

---@class (exact) cut
---@field epoch integer
---@field timeline integer
---@field lsn lsn
---@field by string
---@field at string

---@class (exact) descendsOptions
---@field name? string
---@field at? opened

---@class (exact) descent
---@field ok boolean
---@field reason string

---@class (exact) disk
---@field what string
---@field path string
---@field free integer
---@field size integer

---@class (exact) drill
---@field at string
---@field ok boolean
---@field why? string
---@field seconds? number
---@field backup? string
---@field lsn? lsn

---@class (exact) drillNote
---@field ok? boolean
---@field why? string
---@field seconds? number
---@field backup? string
---@field lsn? lsn

---@class (exact) encloseOptions
---@field by? string
---@field fast? boolean

---@class (exact) endedRun
---@field run string
---@field began string
---@field ended string

---@class (exact) eraseOption
---@field erase? boolean

---@class (exact) examined
---@field failures string[]
---@field queries integer
---@field amcheck string

---@class (exact) facts
---@field began string
---@field asks? boolean
---@field clock_ahead_at_least number
---@field clock_ahead_at_most number
---@field settings? table<string, string>
---@field from_files? boolean
---@field settings_after_restart? table<string, string>
---@field archive_command_wanted? string
---@field restore_command_wanted? string
---@field standby_signal boolean
---@field stamp? stamp
---@field gaps? gap[]
---@field gaps_from? string
---@field want_history? integer
---@field last_file_at? string
---@field keep_backups? integer
---@field last_backup? backup
---@field fresh_copy? boolean
---@field copy_state? string
---@field copy_wrong? string
---@field wal_rate? number
---@field disks? disk[]
---@field prepared_transactions? health_prepared[]
---@field running_backups? integer
---@field logical_slots? logicalSlot[]
---@field startup_wait? string
---@field oldest_query? openQuery
---@field libc? string
---@field collations? string[]
---@field closed_databases? string[]
---@field lib_dir? string
---@field libraries? string[]
---@field loads? string[]
---@field unit? string
---@field restart? string
---@field start? string
---@field data_mode? string
---@field trigger? string
---@field trigger_file? string
---@field said? string
---@field said_hint? string
---@field fatal? string
---@field log? string
---@field links? link[]
---@field secrets? secret[]

---@class (exact) fence
---@field epoch integer
---@field cuts cut[]

---@class (exact) fenceOptions
---@field timeline? integer
---@field lsn? lsn
---@field by? string
---@field epoch? integer
---@field at? string

---@class (exact) fencedRivals
---@field fenced string[]
---@field off string[]

---@class (exact) finding
---@field problem string
---@field path string
---@field detail? string

---@class (exact) fitOptions
---@field standby? string
---@field max_lag? integer
---@field accept_lost_slots? boolean
---@field accept_missing_libraries? boolean

---@class (exact) fitness
---@field node string
---@field program string
---@field major number
---@field sql boolean
---@field now string
---@field shared table<string, integer>
---@field shared_next table<string, integer>
---@field archive_mode string
---@field archive_command string
---@field archive_library string
---@field wal_level string
---@field prepared integer
---@field backups integer
---@field logical_slots logicalSlot[]
---@field databases survey
---@field lsn lsn
---@field paused boolean
---@field segment_size integer
---@field free table<string, integer>
---@field unknown string[]
---@field libc string
---@field lib_dir string
---@field libraries string[]
---@field preloads string[]
---@field unit string
---@field restart string
---@field refused string

---@class (exact) flushed
---@field timeline integer
---@field checkpoint lsn
---@field end_lsn lsn
---@field segment string
---@field clean boolean
---@field from string
---@field segments string[]

---@class (exact) followsOptions
---@field lsn? lsn
---@field timeout? duration

---@class (exact) fork
---@field parent integer
---@field lsn lsn

---@class (exact) forkedOptions
---@field timeline? integer

---@class (exact) formerPair
---@field primary string
---@field other string
---@field follows boolean
---@field why string

---@class (exact) gap
---@field after string
---@field want string

---@class (exact) health_prepared
---@field gid string
---@field seconds number

---@class (exact) historyEntry
---@field timeline integer
---@field ["end"] lsn
---@field reason string

---@class (exact) keepWALOptions
---@field timeline? integer
---@field fork? lsn
---@field end_lsn? lsn

---@class (exact) kept
---@field good integer
---@field newest? string

---@class (exact) keptWAL
---@field path string
---@field files integer

---@class (exact) landmark
---@field kind string
---@field at lsn
---@field ["end"] lsn
---@field time string
---@field xid? integer
---@field name? string

---@class (exact) lastBytes
---@field segment? string
---@field end_lsn? lsn
---@field archive? boolean

---@class (exact) leftFence
---@field timeline integer
---@field cuts nodeCut[]

---@class (exact) lineage
---@field lsn lsn
---@field timeline integer
---@field system_identifier string
---@field history historyEntry[]

---@class (exact) link
---@field to string
---@field error? string
---@field hint? string

---@class (exact) locateOptions
---@field names? string[]

---@class (exact) logicalSlot
---@field name string
---@field failover boolean
---@field kept? boolean

---@class (exact) lossOptions
---@field salvaged? salvaged
---@field fast? boolean

---@class (exact) lossResult
---@field exact boolean
---@field lsn lsn
---@field last_commit string
---@field sentence string

---@class (exact) lost
---@field first lsn
---@field last lsn
---@field segments integer
---@field since string
---@field at string
---@field broken string[]

---@class (exact) makeScratchOptions
---@field kind? string
---@field dir? string
---@field port? integer
---@field listen? string
---@field shared_buffers? string
---@field time? string
---@field lsn? lsn
---@field xid? integer
---@field name? string
---@field exclusive? boolean
---@field timeline? integer
---@field backup? string

---@class (exact) moments
---@field stop_asked? string
---@field stopped? string
---@field promotion_asked? string
---@field opened? string
---@field now string

---@class (exact) namesOptions
---@field position? string
---@field histories? boolean

---@class (exact) node
---@field name string
---@field host string
---@field role string
---@field port integer
---@field pgdata string
---@field config_file? string
---@field bin_dir? string
---@field stream_host? string
---@field user? string
---@field database? string
---@field home string
---@field archive string
---@field trigger string
---@field backups string
---@field scratch string
---@field delay? string
---@field compress? string
---@field ssh ssh

---@class (exact) nodeCut
---@field node string
---@field lsn lsn
---@field by string

---@class (exact) nodeFacts
---@field version string
---@field role string
---@field system_identifier string
---@field timeline? integer
---@field scripts? table<string, string>

---@class (exact) nodeResult
---@field node string
---@field ok boolean
---@field value any
---@field error string
---@field hint string

---@class (exact) nodeStatus
---@field node string
---@field host? string
---@field place string
---@field role string
---@field program? string
---@field at? string
---@field unknown? table<string, string>
---@field running boolean
---@field accepting boolean
---@field server_version? string
---@field system_identifier? string
---@field control_state? string
---@field segment_size? integer
---@field was_primary? boolean
---@field half_rewound? string
---@field stopped_at? string
---@field stop_site? endedRun
---@field unfinished_runs? unfinishedRun[]
---@field timeline? integer
---@field history? historyEntry[]
---@field current_lsn? lsn
---@field replayed_lsn? lsn
---@field replayed_at? string
---@field streamed_lsn? lsn
---@field replay_paused? boolean
---@field replay_seconds_per_segment? number
---@field last_promotion? promotion
---@field archiving_active boolean
---@field archive_mode? string
---@field last_archived? string
---@field last_archived_at? string
---@field archived_to? lsn
---@field archived_until? string
---@field last_failed? string
---@field last_failed_at? string
---@field backlog integer
---@field archive_missing? string
---@field archive_compress? string
---@field last_received? string
---@field first_received? string
---@field received_lsn? lsn
---@field last_replayed? string
---@field wanted? string
---@field wanted_since? string
---@field lost? lost
---@field lost_file? string
---@field relayed? string
---@field fence? fence
---@field advice? string
---@field facts? facts
---@field delay? string
---@field base_copies? kept
---@field drill? drill
---@field lag_bytes? integer
---@field lag_seconds? number
---@field diverged? string
---@field fenced? string

---@class (exact) offshoot
---@field timeline integer
---@field lsn lsn
---@field path string

---@class (exact) openQuery
---@field pid integer
---@field user string
---@field seconds number

---@class (exact) opened
---@field lsn lsn
---@field timeline integer

---@class (exact) outlook
---@field lost string[]
---@field lines string[]

---@class (exact) pair
---@field primary string
---@field standby string

---@class (exact) pathOption
---@field path? string

---@class (exact) point
---@field timeline integer
---@field checkpoint lsn
---@field end_lsn lsn
---@field segment string
---@field clean boolean

---@class (exact) postOptions
---@field json? any
---@field body? string
---@field token? secret|string
---@field headers? table<string, string>
---@field timeout? duration

---@class (exact) posted
---@field status integer
---@field body string

---@class (exact) prepared
---@field pgdata string
---@field archive string

---@class (exact) primaryOption
---@field primary? string

---@class (exact) progress
---@field needs lsn
---@field replayed lsn

---@class (exact) promotion
---@field seconds number
---@field at string

---@class (exact) proof
---@field lsn lsn
---@field how string

---@class (exact) proveOptions
---@field lsn? lsn
---@field timeline? integer
---@field checkpoint? lsn
---@field seen? opened
---@field timeout? duration

---@class (exact) psqlScratchOptions
---@field dir? string
---@field database? string

---@class (exact) pullOptions
---@field from? string
---@field histories? boolean
---@field lenient? boolean

---@class (exact) pullTreeOptions
---@field from? string
---@field source? string
---@field target? string
---@field verbose? boolean
---@field checksum? boolean
---@field delete? boolean
---@field delete_excluded? boolean
---@field include? string[]
---@field exclude? string[]
---@field max_rate? integer
---@field compress? string
---@field streams? integer
---@field in_place? boolean
---@field hard_links? string
---@field dry_run? boolean
---@field live? boolean

---@class (exact) pushTreeOptions
---@field to? string
---@field source? string
---@field target? string
---@field verbose? boolean
---@field checksum? boolean
---@field delete? boolean
---@field delete_excluded? boolean
---@field include? string[]
---@field exclude? string[]
---@field max_rate? integer
---@field compress? string
---@field streams? integer
---@field in_place? boolean
---@field hard_links? string
---@field dry_run? boolean
---@field live? boolean

---@class (exact) queriedScratch
---@field text string
---@field rows integer

---@class (exact) queryScratchOptions
---@field dir? string
---@field sql? string
---@field database? string

---@class (exact) range
---@field timeline integer
---@field start_lsn lsn
---@field end_lsn lsn

---@class (exact) reachResult
---@field backup string
---@field finished string
---@field target string
---@field timeline integer
---@field at lsn

---@class (exact) recoveryEndOptions
---@field fast? boolean

---@class (exact) recoveryEndResult
---@field lsn lsn
---@field timeline integer
---@field cut lsn
---@field last_commit string

---@class (exact) relayResult
---@field files integer
---@field bytes integer
---@field chain chain
---@field watermark string

---@class (exact) removedBackups
---@field removed string[]

---@class (exact) result
---@field start_lsn lsn
---@field stop_lsn lsn
---@field start_segment string
---@field stop_segment string
---@field timeline integer
---@field history_file string
---@field changed integer
---@field pages_judged integer
---@field bad_pages? badPage[]
---@field bad_page_count integer
---@field summary summary
---@field tablespaces tablespace[]

---@class (exact) return
---@field way string
---@field why string
---@field running boolean
---@field writes boolean
---@field end_lsn lsn
---@field timeline integer
---@field fork lsn
---@field diverged boolean
---@field empty boolean

---@class (exact) returnsOptions
---@field primary? lineage

---@class (exact) runCopy
---@field lines? string
---@field held? boolean
---@field parts? string[]

---@class (exact) runOptions
---@field id? string

---@class (exact) salvaged
---@field complete boolean
---@field from string
---@field end_lsn lsn

---@class (exact) scratchDirOption
---@field dir? string

---@class (exact) scratchKindOption
---@field kind? string

---@class (exact) scratchListed
---@field id string
---@field dir string
---@field kind string
---@field backup string
---@field target string
---@field timeline integer
---@field stop_lsn lsn
---@field port integer
---@field socket_dir string
---@field bin_dir? string
---@field begun string
---@field stays boolean
---@field running boolean
---@field connection string

---@class (exact) scratchStarted
---@field lsn lsn
---@field timeline integer
---@field time? string
---@field last? landmark
---@field open boolean
---@field connection string
---@field text string
---@field seconds number

---@class (exact) secret
---@field runbook string
---@field flag string
---@field needed? boolean
---@field error? string
---@field hint? string

---@class (exact) segmentHash
---@field sha256 string
---@field path string

---@class (exact) server
---@field id string
---@field dir string
---@field kind string
---@field backup string
---@field target string
---@field timeline integer
---@field stop_lsn lsn
---@field port integer
---@field socket_dir string
---@field bin_dir? string
---@field begun string
---@field stays boolean

---@class (exact) setActiveOptions
---@field active? boolean

---@class (exact) setActiveResult
---@field was boolean
---@field lsn lsn

---@class (exact) slotOptions
---@field standby? string
---@field drop? boolean

---@class (exact) ssh
---@field user? string
---@field port? integer
---@field identity_file? string
---@field known_hosts? string
---@field proxy_jump? string

---@class (exact) stamp
---@field system_identifier string
---@field segment_size integer
---@field epoch integer
---@field created string

---@class (exact) startScratchOptions
---@field dir? string
---@field timeout? duration

---@class (exact) state
---@field role string
---@field running boolean
---@field fenced boolean
---@field copy boolean
---@field wal integer
---@field pgdata string
---@field control controlFile

---@class (exact) status
---@field running boolean
---@field pid? integer
---@field single_user? boolean
---@field stale_pid? integer
---@field port? integer
---@field socket_dir? string
---@field started_at? string
---@field ready? string
---@field data_dir string
---@field version number
---@field owner? string
---@field unit? string
---@field cluster? string

---@class (exact) stopOptions
---@field drain? duration
---@field timeout? duration
---@field mode? string

---@class (exact) stopOptionsOf
---@field control? controlFile

---@class (exact) summary
---@field files integer
---@field dirs integer
---@field transferred integer
---@field deleted integer
---@field literal integer
---@field sent integer
---@field received integer
---@field total_size integer
---@field elapsed number

---@class (exact) superseding
---@field node string
---@field lineage lineage

---@class (exact) survey
---@field modules? string[]
---@field stale? string[]
---@field closed? string[]

---@class (exact) switchResult
---@field lsn lsn
---@field segment string
---@field timeline integer

---@class (exact) tablespace
---@field oid string
---@field source string
---@field target string

---@class (exact) takeBackupOptions
---@field to? string
---@field id? string
---@field fast? boolean
---@field streams? integer
---@field max_rate? integer
---@field compress? string
---@field allow_bad_pages? boolean

---@class (exact) takenBackup
---@field start_lsn lsn
---@field stop_lsn lsn
---@field start_segment string
---@field stop_segment string
---@field timeline integer
---@field version integer
---@field bytes integer
---@field finished string

---@class (exact) targetOptions
---@field time? string
---@field lsn? lsn
---@field xid? integer
---@field name? string
---@field exclusive? boolean
---@field timeline? integer
---@field backup? string

---@class (exact) timeoutOption
---@field timeout? duration

---@class (exact) toOption
---@field to? string

---@class (exact) triggerOptions
---@field fast? boolean

---@class (exact) triggerResult
---@field path string

---@class (exact) trustOptions
---@field public? string
---@field comment? string
---@field file? string

---@class (exact) trustPlace
---@field account string
---@field file string
---@field basis string
---@field doubts string[]
---@field line string
---@field present boolean
---@field changed boolean

---@class (exact) underwayOptions
---@field timeline? integer

---@class (exact) unfinishedRun
---@field run string
---@field next string

---@class (exact) verified
---@field segments integer
---@field records integer
---@field findings integer
---@field first string

---@class (exact) verifyReport
---@field dir string
---@field manifest_version integer
---@field system_identifier string
---@field files integer
---@field bytes integer
---@field wal range[]
---@field findings finding[]

---@class (exact) versionResult
---@field major number

---@class (exact) view
---@field path string
---@field pgdata string
---@field archive string
---@field trigger string
---@field home string

---@class (exact) waitOptions
---@field from? string
---@field segment? string
---@field history? integer
---@field timeout? duration

---@class (exact) runbook_table
---@field api integer 1: the form it is written in
---@field name string the command, and the name of the file: letters, digits, - and _
---@field summary string one line for the list of commands
---@field runs_on "primary"|"standby"|"dr"|"pair"|"any" the node that it is started on
---@field lock? "cluster"|"node"|"none" cluster (the default): no other run that changes the cluster may be under way on any node; node: not this runbook twice on this node
---@field lock_unless? string the name of a boolean parameter with which it only reads, and takes no lock
---@field next? string what usually follows
---@field description? string as long as it takes
---@field params? table<string, param> NAME = param.KIND { ... }; NAME becomes a flag
---@field checks? check[] what must hold before the first step
---@field steps step[] what is done, in this order

---describes a runbook; the file returns it
---@param table runbook_table
---@return runbook
function runbook(table) end

---@class (exact) extension_table
---@field api integer 1: the form it is written in
---@field extends string the runbook's name
---@field summary string one line that says what is added
---@field params? table<string, param> more parameters
---@field checks? check[] more checks, after the runbook's
---@field before? table<string, step|step[]> STEP = what comes before that step
---@field after? table<string, step|step[]> STEP = what comes after it
---@field replace? table<string, step> STEP = what takes its place, under the same name
---@field finally? step[] what comes at the end of every run that has begun a step, done or failed, and again at the end of one that is resumed; it cannot fail the run

---describes a site's own steps around those of a runbook; the file RUNBOOK.d/NAME.lua returns it
---@param table extension_table
---@return extension
function extension(table) end

---@class (exact) step_table
---@field run fun(c: context): any, any does it; what it returns is the step's result
---@field undo? false|fun(c: context): any, any takes it back when the run fails later, and must bear running when there is nothing to take back; false: what it does needs no undo
---@field irreversible? boolean true: nothing is undone once it has begun
---@field done_if? fun(c: context): boolean, any true: it is done already and run is not called; the second value is the result
---@field when? fun(c: context): boolean false: the step is skipped
---@field confirm? string|fun(c: context): string? a question to the operator, or a function that returns one or nil
---@field timeout? duration for each try of run
---@field retries? integer how often run is tried again after an error
---@field delay? duration how long to wait before each of these (default: 1s)
---@field repeatable? boolean true: it may be run again when a run is resumed that was interrupted within it
---@field mark? string a line that is drawn before the step, in plans and runs
---@field outage? "begins"|"ends" from this step on clients cannot write, or can again: plans say so, and how long it took in former runs
---@field expect? fun(c: context): string? in plans: what is known now of how long the step will take, such as what is left to replay
---@field hint? string what to do when it fails
---@field leaves? fun(c: context): string? what stays behind when the run fails, and what to type about it
---@field on_error? "warn"|"fail" in extensions only: whether its failure ends the run (default: fail in replace, else warn)
---@field [1] string what plans, runs, results and extensions call it

---one unit of work with a name
---@param table step_table
---@return step
function step(table) end

---@class (exact) check_table
---@field retries? integer how often it is tried again while it does not hold
---@field delay? duration how long to wait before each of these (default: 1s)
---@field hint? string what to do when it does not hold
---@field again? boolean true: it must hold again when a run is resumed that has not passed the line of no return
---@field [1] string what must hold, as a sentence
---@field [2] fun(c: context): boolean, string? returns true, or false and why not; an error counts as false
---@field [3]? string why not, where the function does not say

---what must hold before the first step; it only reads
---@param table check_table
---@return check
function check(table) end

---prints one line of live output, as string.format does
---@param format any
---@param ... any
function say(format, ...) end

---ends the check or step with an error: fail(format, ...), or fail { message, hint = ... } with what to do
---@param format any
---@param ... any
function fail(format, ...) end

---gives what the file lib/NAME.lua returns; the site's own is looked for first
---@param name string
---@return any
function require(name) end

---calls a function on several nodes at once, on each with its name first and the other arguments after it, and waits for all. Gives a list in the order of the nodes with node, ok, value (what the function gave), error and hint of each. Where a node fails the call does, with what all have said; with keep_going = true in the list of nodes it does not. At most 8 are worked on at a time, or at_once = N. Not for runbooks.run, nor for what cannot be taken back
---@param nodes nodes
---@param function_ function
---@param ... any
---@return nodeResult[]
function on_nodes(nodes, function_, ...) end

---@class (exact) test_table
---@field runbook string the runbook's name
---@field answers? table<string, any> ["MODULE.FUNCTION"] = a value, a function of the call's arguments, or fails, no_return or each, for all cases
---@field [1] case one run, and what is expected of it; as many as you like

---tests a runbook, with a fake for everything that it calls; the file NAME_test.lua returns it
---@param table test_table
---@return test
function test(table) end

---@class (exact) case_table
---@field params? table<string, any> the flags
---@field vars? table<string, any> fields of c; node, partner and dr are "db1", "db2" and "dr" without it, and false stands for nil
---@field answers? table<string, any> ["MODULE.FUNCTION"] = a value, a function of the call's arguments, or fails, no_return or each; before those for all cases
---@field agree? boolean the answer to questions (default: true)
---@field fails? string what the error says; without it the run must succeed
---@field hint? string what the error's hint says
---@field calls? string[] calls that must come in this order, others between them: "pg_ctl.stop", or with the first arguments, "pg_ctl.stop db1"
---@field never? string[] calls that must not come
---@field says? string[] texts in the output
---@field undone? string[] exactly the steps that are undone, in this order
---@field left? string[] the steps whose undo fails
---@field passed? boolean whether the line of no return is passed when it fails
---@field plan? string[] texts in the plan
---@field expect? fun(run: table) looks at run.calls (name, text, args of each), run.error, run.results, run.steps, run.output and run.asked, and raises an error
---@field sweep? boolean true: again with each call failing in turn, which must not make the runbook stumble or leave anything
---@field [1] string what is tried

---one run, and what is expected of it
---@param table case_table
---@return case
function case(table) end

---an answer that is an error: fails "text", or fails { "text", hint = "...", begun = false } for one that has changed nothing
---@param text string|table
---@return any
function fails(text) end

---an answer that passes the line of no return first
---@param answer? any
---@return any
function no_return(answer) end

---answers for one call after the other; the last is for all that follow
---@param answers any[]
---@return any
function each(answers) end

---@class (exact) param_table
---@field default? string|number|boolean the value where none is given
---@field help? string the flag's help
---@field required? boolean true: it must be given
---@field bare? boolean true: a word without dashes that names no option is its value; for one parameter only
---@field choices? string[] what a choice can be; for choice only

---the kinds of parameters
param = {}

---@param table? param_table
---@return param
function param.string(table) end

---@param table? param_table
---@return param
function param.integer(table) end

---@param table? param_table
---@return param
function param.boolean(table) end

---@param table? param_table
---@return param
function param.duration(table) end

---@param table? param_table
---@return param
function param.size(table) end

---@param table? param_table
---@return param
function param.choice(table) end

---@param table? param_table
---@return param
function param.node(table) end

---@param table? param_table
---@return param
function param.time(table) end

---@param table? param_table
---@return param
function param.secret(table) end

---@param table? param_table
---@return param
function param.lsn(table) end

---the WAL archive of a node, and shipping into it
archive = {}

---that the archive here takes WAL of the cluster named (read)
---@param node string
---@param options? acceptsOptions
function archive.accepts(node, options) end

---whether the node ships its WAL (archiving_active exists) (read)
---@param node string
---@return boolean
function archive.active(node) end

---how many files wait in pg_wal to be archived, and how long that takes (read)
---@param node string
---@return backlogResult
function archive.backlog(node) end

---how far the node's archive goes without a gap, and on which timeline (read)
---@param node string
---@return chain
function archive.chain(node) end

---that the node's archive exists, can be written and belongs to the source's cluster (read)
---@param node string
---@param options? checkArchiveOptions
---@return boolean
function archive.check(node, options) end

---that the server archives through this program (read)
---@param node string
function archive.check_command(node) end

---wait until no file waits to be archived (wait)
---@param node string
---@param options? timeoutOption
---@return backlogResult
function archive.drain(node, options) end

---the names of the files in the node's archive: of segments those from a position on, which is a segment's name without its timeline (read)
---@param node string
---@param options? namesOptions
---@return string[]
function archive.names(node, options) end

---which nodes a new primary's archiver misses, and what to do about it (read)
---@param node string
---@return outlook
function archive.outlook(node) end

---fetch into the node's archive what another node's archive has (change)
---@param node string
---@param options? pullOptions
---@return integer
function archive.pull(node, options) end

---create or remove archiving_active, durably (change)
---@param node string
---@param options? setActiveOptions
---@return setActiveResult
function archive.set_active(node, options) end

---end the current segment, so that it is archived now (change)
---@param node string
---@return switchResult
function archive.switch(node) end

---whether the node's whole archive is sound: gaps, headers, every record's checksum (read)
---@param node string
---@return verified
function archive.verify(node) end

---wait until the node's archive has a segment, or a timeline's history (wait)
---@param node string
---@param options? waitOptions
function archive.wait(node, options) end

---that the server's archiver does not fail, or why it does (read)
---@param node string
---@return boolean
function archive.working(node) end

---base copies that a node keeps
backup = {}

---begin a base copy that the node is to keep, and keep the WAL that it will need (change)
---@param node string
---@param options? beginBackupOptions
---@return copy
function backup.begin(node, options) end

---note that the node's base copy is complete; its archive must have all WAL that it needs (change)
---@param node string
---@param options? completeBackupOptions
---@return copy
function backup.complete(node, options) end

---remove a base copy that was not completed, and let its WAL go (change)
---@param node string
---@param options? backupIDOption
function backup.discard(node, options) end

---remove the node's base copies that [backup] in cluster.toml does not ask to keep; the newest good one stays (change)
---@param node string
---@return removedBackups
function backup.expire(node) end

---the base copies that the node keeps, oldest first (read)
---@param node string
---@return copy[]
function backup.list(node) end

---remove the node's base copies that were begun and not completed, by runs that were cut (change)
---@param node string
---@return removedBackups
function backup.sweep(node) end

---take a base copy of the node's running server into the one that another node has begun (change)
---@param node string
---@param options? takeBackupOptions
---@return takenBackup
function backup.take(node, options) end

---compare a base copy that the node keeps with its backup manifest, and note the result (change)
---@param node string
---@param options? backupIDOption
---@return copy
function backup.verify(node, options) end

---the nodes and their parts
cluster = {}

---take the files that distrib has brought into use (change)
---@param node string
---@param options? adoptOptions
function cluster.adopt(node, options) end

---bring this program and the global files to a node (change)
---@param node string
function cluster.distribute(node) end

---put this program into the home directory of this node (change)
---@param node string
function cluster.install_here(node) end

---whether the node runs and accepts writes (read)
---@param node string
---@return boolean
function cluster.is_primary(node) end

---a node's settings (read)
---@param node string
---@return node
function cluster.node(node) end

---the names of every other node (read)
---@param node string
---@return string[]
function cluster.others(node) end

---the names of the primary and of its standby (read)
---@return pair
function cluster.pair() end

---the name of the node's partner (read)
---@param node string
---@return string
function cluster.partner(node) end

---the primary, and the other node of the pair whatever its state (read)
---@return formerPair
function cluster.primary_and_other() end

---the primary whose history has left the node's behind (read)
---@param node string
---@return superseding
function cluster.superseding(node) end

---copying directories between nodes, and base copies
copy = {}

---take a base copy of the node's running server onto another node (change)
---@param node string
---@param options? baseOptions
---@return result
function copy.base(node, options) end

---save the node's server log files on another node (change)
---@param node string
---@param options? toOption
---@return summary
function copy.logs(node, options) end

---copy a directory of another node to the node (change)
---@param node string
---@param options? pullTreeOptions
---@return copyResult
function copy.pull(node, options) end

---copy a directory of the node to another node (change)
---@param node string
---@param options? pushTreeOptions
---@return copyResult
function copy.push(node, options) end

---that a base copy may be written over the node (read)
---@param node string
function copy.receivable(node) end

---where a path on the node and the node's own directories are, without symbolic links (read)
---@param node string
---@param options? pathOption
---@return view
function copy.resolve(node, options) end

---compare a base copy on the node, from which no server was started, with its backup manifest (change)
---@param node string
---@return verifyReport
function copy.verify(node) end

---what runs by itself
cron = {}

---put a line into the crontab of this account, in the place of the one of that name; an empty line takes it away (change)
---@param node string
---@param options? cronOptions
---@return cronResult
function cron.set(node, options) end

---what is known of the last drill
drill = {}

---write down how the node's drill went, for status (change)
---@param node string
---@param options? drillNote
function drill.note(node, options) end

---refusing an old primary's WAL past a cut
fence = {}

---take a fence out of the node's archive (change)
---@param node string
---@param options? fenceOptions
function fence.clear(node, options) end

---write a fence into every archive that can be reached, behind all WAL that they have (change)
---@param node string
---@param options? encloseOptions
---@return cut
function fence.enclose(node, options) end

---the fences on the node's timeline, once it is proved that nobody was promoted (read)
---@param node string
---@param options? acceptSplitOption
---@return leftFence
function fence.left(node, options) end

---take down a fence that a run which never came to its promotion has left on a primary's timeline (change)
---@param node string
function fence.lift(node) end

---whether fence.lift would take down a fence (read)
---@param node string
---@return boolean
function fence.liftable(node) end

---take a fence out of every archive that can be reached (change)
---@param node string
---@param options? fenceOptions
function fence.lower(node, options) end

---write a fence into every archive that can be reached (change)
---@param node string
---@param options? fenceOptions
---@return cut
function fence.raise(node, options) end

---the fence in the node's archive (read)
---@param node string
---@return fence
function fence.read(node) end

---write a fence into the node's archive (change)
---@param node string
---@param options? fenceOptions
function fence.set(node, options) end

---take the fences that are left on the node's timeline out of every archive (change)
---@param node string
---@param options? acceptSplitOption
---@return leftFence
function fence.take_back(node, options) end

---telling other systems
http = {}

---post to a URL from this node; an answer that is not a success is an error (change)
---@param url secret|string
---@param options? postOptions
---@return posted
function http.post(url, options) end

---the server process and its control file
pg_ctl = {}

---the node's pg_control (read)
---@param node string
---@return controlFile
function pg_ctl.control(node) end

---that this program is allowed and able to start and stop the node's server (read)
---@param node string
---@return boolean
function pg_ctl.may_control(node) end

---end recovery, past the line of no return; prefer the triggerStandby runbook, which checks first (change)
---@param node string
---@param options? timeoutOption
function pg_ctl.promote(node, options) end

---read the configuration again (change)
---@param node string
function pg_ctl.reload(node) end

---stop fast and start (change)
---@param node string
---@param options? timeoutOption
---@return status
function pg_ctl.restart(node, options) end

---start the server and wait until it is ready (change)
---@param node string
---@param options? timeoutOption
---@return status
function pg_ctl.start(node, options) end

---whether a server runs on the node, and where it listens (read)
---@param node string
---@return status
function pg_ctl.status(node) end

---stop the server: smart while clients drain, then fast, never immediate unless asked to (change)
---@param node string
---@param options? stopOptions
function pg_ctl.stop(node, options) end

---the major version of the node's data directory (read)
---@param node string
---@return versionResult
function pg_ctl.version(node) end

---SQL on any node's server
psql = {}

---run a statement that changes something (change)
---@param node string
---@param sql string
---@param ... any
---@return string
function psql.exec(node, sql, ...) end

---whether the server is in recovery; an error where none answers (read)
---@param node string
---@return boolean
function psql.in_recovery(node) end

---the rows of a read-only statement, each a table by column name (read)
---@param node string
---@param sql string
---@param ... any
---@return table<string, any>[]
function psql.query(node, sql, ...) end

---the first column of the first row of a read-only statement (read)
---@param node string
---@param sql string
---@param ... any
---@return any
function psql.value(node, sql, ...) end

---relaying WAL to the disaster recovery node
relay = {}

---relay the node's archive without looking further for what it lacks itself (change)
---@param node string
---@param options? toOption
---@return relayResult
function relay.push(node, options) end

---relay the node's archive to another, and check that nothing is missing there (change)
---@param node string
---@param options? toOption
---@return relayResult
function relay.run(node, options) end

---relay where possible; say so and go on where not (change)
---@param node string
---@param options? toOption
function relay.try(node, options) end

---the nodes that might accept writes beside this one
rivals = {}

---that no other node accepts writes, as far as they can be reached (read)
---@param node string
---@param options? checkRivalsOptions
function rivals.check(node, options) end

---fetch what other archives have and the node's archive lacks (change)
---@param node string
---@return integer
function rivals.collect(node) end

---make every stopped old primary unable to start as a primary, and have the site's fencing hook switch off what cannot be asked (change)
---@param node string
---@param options? acceptSplitOption
---@return fencedRivals
function rivals.fence(node, options) end

---what is lost when the node is promoted now (read)
---@param node string
---@param options? lossOptions
---@return lossResult
function rivals.loss(node, options) end

---that no other node which can be reached was promoted beside the running primary (read)
---@param node string
function rivals.none_promoted(node) end

---fetch what a dead primary had flushed and not archived (change)
---@param node string
---@return salvaged
function rivals.salvage(node) end

---other runbooks, here or on another node
runbooks = {}

---run another runbook, on this node or another, as part of this one (change)
---@param node string
---@param name string
---@param params table<string, any>
---@return string
function runbooks.run(node, name, params) end

---the runs of runbooks that a node knows
runs = {}

---write the certificate of a switchover into the run's directory (change)
---@param node string
---@param options? certifyOptions
---@return certified
function runs.certify(node, options) end

---what a plan rests on at the node: its part, timeline, system identifier, and the site's own runbooks there (read)
---@param node string
---@return nodeFacts
function runs.facts(node) end

---the node's copy of a run's journal (read)
---@param node string
---@param options? runOptions
---@return runCopy
function runs.journal(node, options) end

---the IDs of the runs that have not ended, as far as the node knows (read)
---@param node string
---@return string[]
function runs.unfinished(node) end

---servers made from kept base copies, beside everything else
scratch = {}

---run pg_amcheck and the site's queries on the server in a directory (change)
---@param node string
---@param options? scratchDirOption
---@return examined
function scratch.examine(node, options) end

---that a directory on the node is not there or empty (read)
---@param node string
---@param options? scratchDirOption
---@return boolean
function scratch.free(node, options) end

---that psql is installed on the node (read)
---@param node string
---@return boolean
function scratch.has_psql(node) end

---the scratch servers of a kind on the node (read)
---@param node string
---@param options? scratchKindOption
---@return scratchListed[]
function scratch.list(node, options) end

---copy the base copy within the node and configure a server that keeps to itself; it is not started (change)
---@param node string
---@param options? makeScratchOptions
---@return server
function scratch.make(node, options) end

---let psql have the terminal, on the server in a directory of this node, and wait for its end (change)
---@param node string
---@param options? psqlScratchOptions
function scratch.psql(node, options) end

---run a statement on the server in a directory, and give its rows as psql -At prints them (change)
---@param node string
---@param options? queryScratchOptions
---@return queriedScratch
function scratch.query(node, options) end

---the base copy from which a recovery on the node reaches a target, proved from the archive (read)
---@param node string
---@param options? targetOptions
---@return reachResult
function scratch.reach(node, options) end

---stop the server in a directory and remove all of it (change)
---@param node string
---@param options? scratchDirOption
function scratch.remove(node, options) end

---start the server in a directory and wait until its recovery has ended, or paused at its target (change)
---@param node string
---@param options? startScratchOptions
---@return scratchStarted
function scratch.start(node, options) end

---note that the server is there to be used, and not left over (change)
---@param node string
---@param options? scratchDirOption
function scratch.stay(node, options) end

---remove the servers of a kind that are left over from runs that were killed (change)
---@param node string
---@param options? scratchKindOption
function scratch.sweep(node, options) end

---commands on any node, this one too
shell = {}

---the output of a shell command that changes nothing, on any node, this one too (read)
---@param node string
---@param command string
---@return string
function shell.read(node, command) end

---run a shell command on any node, this one too, with its output shown live (change)
---@param node string
---@param command string
function shell.run(node, command) end

---commands on other nodes
ssh = {}

---whether a node answers over ssh (read)
---@param node string
---@return boolean
function ssh.reachable(node) end

---the output of a shell command that changes nothing (read)
---@param node string
---@param command string
---@return string
function ssh.read(node, command) end

---run a shell command on another node, with its output shown live (change)
---@param node string
---@param command string
function ssh.run(node, command) end

---making a standby, promoting it, and proof of what it replayed
standby = {}

---start the old primary as a primary again, once it is proved that nobody was promoted (change)
---@param node string
---@param options? bringBackOptions
function standby.bring_back(node, options) end

---remove the trigger file (change)
---@param node string
function standby.clear_trigger(node) end

---take segments that the primary's history has nothing of out of the stopped node's pg_wal; those with WAL are copied to local/kept first (change)
---@param node string
---@param options? returnsOptions
---@return keptWAL
function standby.clear_wal(node, options) end

---make the stopped server able to start only as a standby (change)
---@param node string
---@param options? configureOptions
function standby.configure(node, options) end

---whether a position lies on the history of this primary (read)
---@param node string
---@param options? descendsOptions
---@return descent
function standby.descends(node, options) end

---that a primary and its standby can change places: versions, settings, backups, prepared transactions, logical slots, libraries, collations, lag, room, clocks (read)
---@param node string
---@param options? fitOptions
---@return boolean
function standby.fit(node, options) end

---what a change of places wants to know of the node beyond its control file (read)
---@param node string
---@return fitness
function standby.fitness(node) end

---ship the cleanly stopped server's WAL through its shutdown checkpoint (change)
---@param node string
---@param options? toOption
---@return flushed
function standby.flush(node, options) end

---wait until the server has replayed an LSN of a new timeline (wait)
---@param node string
---@param options? followsOptions
function standby.follows(node, options) end

---whether a standby has replayed nothing but the primary's WAL (read)
---@param node string
---@param options? primaryOption
---@return descent
function standby.follows_primary(node, options) end

---where a timeline of the node's server left the one before (wait)
---@param node string
---@param options? forkedOptions
---@return fork
function standby.forked(node, options) end

---the SHA-256 of a segment up to an LSN, in the node's pg_wal or archive (wait)
---@param node string
---@param options? lastBytes
---@return segmentHash
function standby.hash_end(node, options) end

---where the shutdown checkpoint of another server ends, if this archive has it (read)
---@param node string
---@param options? stopOptionsOf
---@return lsn
function standby.holds_stop(node, options) end

---copy WAL that only this node has to local/kept, with its marks (change)
---@param node string
---@param options? keepWALOptions
---@return keptWAL
function standby.keep_wal(node, options) end

---where the WAL of the stopped server ends (read)
---@param node string
---@return point
function standby.last_point(node) end

---the history that the running primary writes (read)
---@param node string
---@return lineage
function standby.lineage(node) end

---when the node's server was last stopped and promoted by this program, and its clock (wait)
---@param node string
---@return moments
function standby.moments(node) end

---the timelines that left another one, by what the node has of them (read)
---@param node string
---@param options? underwayOptions
---@return offshoot[]
function standby.offshoots(node, options) end

---timeline and LSN of a promoted server that accepts writes (wait)
---@param node string
---@return opened
function standby.opened(node) end

---exactly how far the node has replayed, after a restartpoint (read)
---@param node string
---@return opened
function standby.position(node) end

---that the node may be prepared as a standby (read)
---@param node string
---@param options? eraseOption
function standby.preparable(node, options) end

---data directory, archive, no trigger, empty pg_wal, configuration (change)
---@param node string
---@param options? eraseOption
---@return prepared
function standby.prepare(node, options) end

---what the node's server has replayed, and what a restart needs (read)
---@param node string
---@return progress
function standby.progress(node) end

---that the node is a standby (read)
---@param node string
function standby.promotable(node) end

---ask the server to end recovery, past the line of no return, and wait until it accepts writes (change)
---@param node string
---@param options? timeoutOption
function standby.promote(node, options) end

---wait until the server has replayed all of a stopped primary's WAL, and say how that is known (wait)
---@param node string
---@param options? proveOptions
---@return proof
function standby.prove_replay(node, options) end

---open the connection beforehand that flush ships over (wait)
---@param node string
---@param options? toOption
function standby.ready_to_flush(node, options) end

---where a promotion of the node would open it (wait)
---@param node string
---@param options? recoveryEndOptions
---@return recoveryEndResult
function standby.recovery_end(node, options) end

---wait until the server has replayed its whole archive (wait)
---@param node string
---@param options? timeoutOption
---@return proof
function standby.replay_archive(node, options) end

---how far the server has replayed (wait)
---@param node string
---@return opened
function standby.replayed(node) end

---what it takes to make the node follow a primary: nothing, a start, pg_rewind or a copy (read)
---@param node string
---@param options? returnsOptions
---@return return
function standby.returns(node, options) end

---pg_rewind the stopped server to a primary, with its own configuration and archive left as they are (change)
---@param node string
---@param options? primaryOption
function standby.rewind(node, options) end

---ship what the dead server had flushed and not archived (change)
---@param node string
---@param options? toOption
---@return flushed
function standby.salvage(node, options) end

---where the WAL of the cleanly stopped server ends (wait)
---@param node string
---@return point
function standby.shutdown_point(node) end

---make or drop the replication slot of another node on this one's server, where the site has slots (change)
---@param node string
---@param options? slotOptions
function standby.slot(node, options) end

---remove the signal file, ship WAL again and start as a primary; bring_back checks first (change)
---@param node string
function standby.start_primary(node) end

---what the node's data directory makes of it (read)
---@param node string
---@return state
function standby.state(node) end

---leave the trigger file, past the line of no return (change)
---@param node string
---@param options? triggerOptions
---@return triggerResult
function standby.trigger(node, options) end

---whether the node was promoted or may be about to be (read)
---@param node string
---@param options? underwayOptions
---@return string
function standby.underway(node, options) end

---say what would be wrong with the node as the primary; it keeps nobody from promoting it (read)
---@param node string
function standby.warn(node) end

---what the nodes do and how far they are
status = {}

---the same, with everything that a check looks at (read)
---@param node string
---@return nodeStatus
function status.examine(node) end

---what the node does and how far it is (read)
---@param node string
---@return nodeStatus
function status.local(node) end

---where the node has these WAL files (read)
---@param node string
---@param options? locateOptions
---@return table<string, string[]>
function status.locate(node, options) end

---keys that may ship WAL
trust = {}

---let a key ship WAL to the node (change)
---@param node string
---@param options? trustOptions
---@return trustPlace
function trust.add(node, options) end

---whether a key may ship to the node, and where that is written (read)
---@param node string
---@param options? trustOptions
---@return trustPlace
function trust.look(node, options) end

---no longer let a key in (change)
---@param node string
---@param options? trustOptions
---@return trustPlace
function trust.remove(node, options) end

---no longer let in the keys that this one has replaced (change)
---@param node string
---@param options? trustOptions
---@return trustPlace
function trust.remove_others(node, options) end


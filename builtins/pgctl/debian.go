package pgctl

import (
	"os"
	"path/filepath"
)

// debianCluster names a cluster of postgresql-common, whose configuration lies
// in /etc/postgresql/VERSION/NAME.
type debianCluster struct {
	version, name string
	config        string // that directory
}

// String is the name as pg_ctlcluster's cluster_name has it: "15/main".
func (c debianCluster) String() string {
	if c.name == "" {
		return ""
	}
	return c.version + "/" + c.name
}

// debianCluster finds the cluster whose data directory is pgdata; with none it
// is the zero value. Without pg_ctlcluster on the machine there are no clusters,
// whatever is left in /etc.
func (m machine) debianCluster(pgdata string) (debianCluster, error) {
	if _, err := m.lookPath("pg_ctlcluster"); err != nil {
		return debianCluster{}, nil
	}
	files, err := filepath.Glob(m.at("etc/postgresql/*/*/postgresql.conf"))
	if err != nil {
		return debianCluster{}, err
	}
	for _, file := range files {
		dir := filepath.Dir(file)
		if sameDir(clusterDataDir(dir), pgdata) {
			return debianCluster{version: filepath.Base(filepath.Dir(dir)), name: filepath.Base(dir), config: dir}, nil
		}
	}
	return debianCluster{}, nil
}

// clusterDataDir is the data directory of a cluster: data_directory, or the
// target of a link named pgdata (cluster_data_directory in PgCommon.pm). It is
// empty where neither can be read: a cluster that is broken or closed to us is
// not ours.
func clusterDataDir(config string) string {
	if conf, err := ReadConf(filepath.Join(config, "postgresql.conf")); err == nil {
		if dir, ok := conf.Get("data_directory"); ok {
			return dir
		}
	}
	target, err := filepath.EvalSymlinks(filepath.Join(config, "pgdata"))
	if err != nil {
		return ""
	}
	return target
}

// sameDir reports whether two paths lead to one directory.
func sameDir(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

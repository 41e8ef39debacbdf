module mesos-platform/tools/kubernetes-definitions

go 1.25
